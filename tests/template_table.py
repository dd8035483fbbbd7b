"""Every built-in of Jinja2 and every method of Python's str, list, dict and tuple, as rows of small templates.

A row is `(name, template)`: the construct's name, which an error of ours must say where Jinja2 gives a text.
"""

from __future__ import annotations

import itertools

import jinja2.defaults
import jinja2.filters
import jinja2.tests

#: Values of each kind, the odd ones too. `w` is a dict of a message, `n` is not defined.
VALUES = [
    "0", "1", "-7", "12", "2.0", "-2.5", "1e20", "0.1", "true", "false", "none", "n",
    "''", "'a'", "'Hello wORLD, it\\'s 3.5%'", "' \\t x\\n'", "'Zürich ß ŉ 你好 ǆ'", "'<b>&\"'", "'12'", "'-0x1F'", "'a\\nb\\n\\nc\\n'",
    "[]", "[3, 1, 2]", "['b', 'A', 'a']", "[1, 'a', none]", "[[2, 1], [1]]", "(1, 'a')", "()", "(1,)",
    "{}", "{'b': 1, 'a': 2}", "{1: 'x'}", "{'a': {'b': [1, 2.0, none, true]}}", "[{'n': 2, 'k': 'x'}, {'n': 1, 'k': 'y'}, {'n': 2, 'k': 'z'}]",
    "range(3)", "w", "'%s and %s'", "9223372036854775807", "'x' * 40",
]  # fmt: skip

TEXTS = ["''", "'a'", "'Hello wORLD, it\\'s 3.5%'", "'  x y\\tz\\n'", "'Zürich ß ŉ 你好 ǆ'", "'12'", "'²½٣'", "'a\\nb\\r\\n\\nc\\x0bd\\u2028e'", "'aXbXc'", "'--x--'"]

#: Arguments that each filter is called with, beside none.
FILTERS = {
    "abs": [], "attr": ["'a'", "'upper'", "'missing'", "name='a'", "'items'", "'role'"],
    "batch": ["2", "2, 'x'", "3, fill_with=none", "linecount=1", "0", "2.0", "'a'"],
    "capitalize": [], "center": ["", "9", "width=4", "-1", "2.5", "10, 'x'"],
    "count": [], "length": [],
    "d": ["'x'"], "default": ["", "'x'", "'x', true", "'x', boolean=true", "default_value=3", "default_value='y', boolean=false", "'x', 1"],
    "dictsort": ["", "true", "false, 'value'", "by='value'", "reverse=true", "case_sensitive=true, reverse=true", "by='nope'"],
    "e": [], "escape": [], "forceescape": [], "safe": [],
    "filesizeformat": ["", "true", "binary=true", "1"],
    "first": [], "last": [], "float": ["", "7", "default=none", "'x'"],
    "format": ["", "1", "1, 2", "'a', 'b'", "x=1", "n", "[1]", "(1, 2)"],
    "groupby": ["'n'", "'k'", "attribute='n'", "'z', default='q'", "'k', case_sensitive=true", "0", ""],
    "indent": ["", "2", "2, true", "'> '", "width=3, first=true", "3, blank=true", "2, true, true", "0", "-1", "first=true", "'>', first=false, blank=true", "2.5"],
    "int": ["", "7", "base=16", "0, 2", "default=none", "default=5, base=0", "0, 36", "0, 8", "0, 99", "'x'"],
    "items": [],
    "join": ["", "', '", "'-', 'n'", "d='+'", "attribute='n'", "',', attribute='k'", "1", "none", "'', 0"],
    "list": [], "lower": [], "upper": [], "title": [], "string": [], "trim": ["", "'a'", "chars='x '", "none", "''", "1"],
    "map": ["'upper'", "attribute='n'", "attribute='n', default=0", "attribute='z', default=0", "'default', 'x'", "'int'", "'replace', 'a', 'b'", "'round', 1", "", "'nope'", "'string'", "'length'", "attribute=0", "attribute='n.m'"],
    "max": ["", "true", "attribute='n'", "case_sensitive=true"], "min": ["", "true", "attribute='n'", "case_sensitive=true"],
    "pprint": [], "random": [],
    "reject": ["", "'odd'", "'none'", "'gt', 1", "'in', [1]", "'nope'", "'equalto', 'a'"], "select": ["", "'odd'", "'none'", "'gt', 1", "'in', [1]", "'nope'", "'equalto', 'a'", "'string'", "'divisibleby', 3"],
    "rejectattr": ["'n'", "'n', 'equalto', 2", "'z'", "'n', 'odd'", "'z', 'defined'", ""], "selectattr": ["'n'", "'n', 'equalto', 2", "'z'", "'n', 'odd'", "'z', 'defined'", "'k', 'in', ['x', 'y']", "", "'n.m'"],
    "replace": ["'a', 'b'", "'a', 'b', 1", "'', '-'", "'l', '', count=2", "old='a', new='q'", "'a'", "'a', 1", "1, 2", "'a', 'b', none", "'a', 'b', -1", "'a', 'b', 0"],
    "reverse": [], "round": ["", "1", "2, 'floor'", "method='ceil'", "precision=-1", "0, 'nope'", "1, 'common'"],
    "slice": ["2", "2, 'x'", "slices=3, fill_with=none", "0", "4"],
    "sort": ["", "true", "reverse=true", "case_sensitive=true", "attribute='n'", "attribute='n,k'", "false, true", "attribute='n', reverse=true", "attribute='z'"],
    "striptags": [], "sum": ["", "'n'", "attribute='n'", "start=10", "'n', 5", "start=[]"],
    "tojson": ["", "indent=2", "ensure_ascii=true", "sort_keys=true", "separators=(',', ':')", "separators=[', ', '= ']", "true", "false, 4", "indent=0", "indent='--'", "indent=none", "separators=none"],
    "truncate": ["", "5", "5, true", "5, false, '…'", "length=9, killwords=true, end=''", "5, true, '...', 0", "5, leeway=0", "9, leeway=3", "2", "20, true"],
    "unique": ["", "true", "attribute='n'", "case_sensitive=true", "attribute='k'"],
    "urlencode": [], "urlize": ["", "10", "nofollow=true", "target='_blank'"],
    "wordcount": [], "wordwrap": ["", "5", "5, false", "width=7, break_long_words=false", "5, wrapstring='|'", "5, true, '+'", "5, true, '+', false", "break_on_hyphens=false, width=3", "0"],
    "xmlattr": ["", "false", "autospace=false"],
}  # fmt: skip

#: Arguments of each test.
TESTS = {
    "boolean": [], "callable": [], "defined": [], "escaped": [], "even": [], "false": [], "float": [], "integer": [], "iterable": [], "lower": [],
    "mapping": [], "none": [], "number": [], "odd": [], "sequence": [], "string": [], "true": [], "undefined": [], "upper": [],
    "divisibleby": ["2", "0", "2.5", "num=3", "'a'"],
    "filter": [], "test": [],
    "eq": ["1", "'a'", "none"], "==": ["1"], "equalto": ["1", "'a'", "[]"], "sameas": ["1", "none", "true", "false", "'a'"],
    "ne": ["1"], "!=": ["1"], "gt": ["1", "'a'"], ">": ["1"], "greaterthan": ["1"], "ge": ["1", "[]"], ">=": ["1"],
    "lt": ["1", "'b'", "(1, 'b')"], "<": ["1"], "lessthan": ["1"], "le": ["1", "none"], "<=": ["1"],
    "in": ["[1, 'a', none]", "'abc'", "{'a': 1}", "1", "(0, true)", "range(3)", "n"],
}  # fmt: skip
#: Names that are operators: Jinja2 takes them only through `select`.
OPERATORS = ["==", "!=", ">", ">=", "<", "<="]

#: Arguments of Python's methods.
STR = {
    "capitalize": [""], "casefold": [""], "lower": [""], "upper": [""], "title": [""], "swapcase": [""],
    "center": ["9", "9, '*'", "2", "'a'", "9, '**'", "-3", "", "9.5"], "ljust": ["9", "9, '*'", "0"], "rjust": ["9", "9, '*'", "0"], "zfill": ["5", "0", "'a'", "-2"],
    "count": ["'a'", "''", "'X', 2", "'X', 0, -1", "'l', -5", "1", "'X', none, 3"], "encode": ["", "'ascii'"],
    "endswith": ["'c'", "('c', 'x')", "''", "'X', 0, 2", "1", "['c']", "()", "'c', -1"], "startswith": ["'a'", "('a', 'x')", "''", "'X', 1", "1", "['a']", "(1,)", "'--', 5, 9"],
    "expandtabs": ["", "4", "tabsize=2", "0"],
    "find": ["'X'", "'X', 2", "'X', 0, 1", "''", "'', 99", "'好'", "1", "'X', -2"], "rfind": ["'X'", "'X', 2", "'X', 0, 2", "''", "'好'"],
    "index": ["'X'", "'X', 2", "'好'", "''"], "rindex": ["'X'", "'X', 0, 2", "''"],
    "format": ["", "1", "1, 2, x=3"], "format_map": ["{'a': 1}"],
    "isalnum": [""], "isalpha": [""], "isascii": [""], "isdecimal": [""], "isdigit": [""], "isidentifier": [""], "islower": [""],
    "isnumeric": [""], "isprintable": [""], "isspace": [""], "istitle": [""], "isupper": [""],
    "join": ["['x', 'y']", "'xyz'", "[]", "('x',)", "[1]", "{'k': 1}", "1", "n", "range(2)"],
    "strip": ["", "'ax'", "none", "'-'", "1", "''"], "lstrip": ["", "'-a'", "none"], "rstrip": ["", "'-c'", "none"],
    "maketrans": ["'a', 'b'", "{'a': 'b'}"], "translate": ["{97: 'q'}", "{97: none, 98: 99}"],
    "partition": ["'X'", "' '", "'nope'", "''"], "rpartition": ["'X'", "' '", "'nope'"],
    "removeprefix": ["'a'", "'--'", "''", "'zz'"], "removesuffix": ["'c'", "'--'", "''"],
    "replace": ["'X', '-'", "'X', '-', 1", "'', '.'", "'', '.', 2", "'X', '', count=1", "'X'", "'X', 1", "'X', '', -1"],
    "split": ["", "'X'", "none, 1", "'X', 1", "sep='X'", "'X', maxsplit=1", "maxsplit=1", "''", "1", "' '", "'X', 0"], "rsplit": ["", "'X'", "none, 1", "'X', 1", "' '", "maxsplit=1"],
    "splitlines": ["", "true", "keepends=true", "keepends=false"],
}  # fmt: skip
LIST = {
    "append": ["1"], "clear": [""], "copy": [""], "count": ["1", "'a'", "none", ""], "extend": ["[1]"], "index": ["1", "'a'", "9", "1, 1", "2, -1"], "insert": ["0, 1"],
    "pop": ["", "0"], "remove": ["1"], "reverse": [""], "sort": [""],
}  # fmt: skip
DICT = {
    "clear": [""], "copy": [""], "fromkeys": ["[1, 2]", "['a'], 3"], "get": ["'a'", "'z'", "'z', 3", "'z', default=3", "1", "none, 4", "[]", ""], "items": ["", "1"], "keys": [""],
    "pop": ["'a'"], "popitem": [""], "setdefault": ["'a', 1"], "update": ["{'q': 1}", "q=1"], "values": [""],
}  # fmt: skip
TUPLE = {"count": ["1", "'a'"], "index": ["'a'", "1", "9"]}
INT = {"bit_length": [""], "bit_count": [""], "conjugate": [""], "is_integer": [""], "as_integer_ratio": [""]}
FLOAT = {"is_integer": [""], "hex": [""], "as_integer_ratio": [""], "conjugate": [""]}

OPERANDS = ["['a']", "1", "-3", "2.5", "0", "true", "none", "n", "''", "'ab'", "'%d%%'", "[1]", "[]", "('a',)", "{'a': 1}", "{}", "range(2)", "'<' | e", "9223372036854775807", "1e300"]
BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
SLICED = ["'abcdef'", "[1, 2, 3, 4, 5]", "(1, 2, 3)", "range(6)", "none", "n", "{'a': 1}", "5", "'你好吗'"]
SLICES = ["1:", ":2", "::2", "::-1", "-2:", ":-1", "1:4:2", "4:1:-1", "10:", "-10:2", "::0", ":", "none:2", "'a':", "1.0:", "5:-9:-2", "true:"]
INDICES = ["0", "-1", "9", "'a'", "1.0", "true", "none", "n", "-9", "'upper'"]

GLOBALS = {
    "range": ["range(5) | list", "range(1, 4) | list", "range(5, 0, -2) | list", "range(0)", "range(3)", "range(2, 9, 3)", "range(3)[1]", "range(3) | length", "range('a')", "range(1.5)", "range()", "range(3)[::-1] | list", "2 in range(3)", "range(1, 5, 0)", "range(3) == range(0, 3)", "range(100001)"],
    "dict": ["dict()", "dict(a=1, b='x')", "dict({'z': 0}, a=1)", "dict([['a', 1], ('b', 2)])", "dict(a=1).a", "dict(1)", "dict([1])", "dict({'a': 1}, a=2)", "dict.fromkeys(['a', 'b'])", "dict.fromkeys('ab', 1)"],
    "lipsum": ["lipsum(n=0)", "lipsum(1, false, 1, 2) | length > 0"],
    "cycler": ["cycler('a', 'b').next()", "cycler()", "cycler('a', 'b').current"],
    "joiner": ["joiner('|')()"],
    "namespace": ["namespace(a=1).a", "namespace({'a': 2}, b=3).b", "namespace(a=1).b", "namespace(_a=1)", "namespace()"],
}  # fmt: skip

STATEMENTS = [
    ("for", "{% for c in 'aß你' %}{{ loop.index }}{{ loop.length }}{{ loop.last }}{{ loop.revindex0 }}{{ c }} {% endfor %}"),
    ("for", "{% for c in 'ab' %}{{ loop.previtem }}{{ loop.nextitem }}{% endfor %}{% for x in '' %}x{% else %}none{% endfor %}"),
    ("for", "{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}-{{ b }} {% endfor %}"),
    ("for", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}"),
    ("for", "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}"),
    ("for", "{% for a, b in [1] %}{{ a }}{% endfor %}"),
    ("for", "{% for x in 5 %}{{ x }}{% endfor %}"), ("for", "{% for x in none %}{{ x }}{% endfor %}"), ("for", "{% for x in n %}{{ x }}{% else %}e{% endfor %}"),
    ("for", "{% for x in {'b': 1, 'a': 2} %}{{ x }}{{ loop.first }}{% endfor %}"), ("for", "{% for x in true %}{{ x }}{% endfor %}"),
    ("for", "{% for x in [1, 2, 3, 4] if x is even %}{{ loop.index }}/{{ loop.length }}:{{ x }}{% endfor %}"),
    ("for", "{% for x in [1, 2] if false %}{{ x }}{% else %}empty{% endfor %}"),
    ("for", "{% for x in [3, 1] | sort %}{{ x }}{% endfor %}{{ x }}{{ loop is defined }}"),
    ("for", "{% for x in [1, 2] %}{% for y in [3, 4] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}"),
    ("for", "{% for x in [1, 2] %}{% set outer = loop %}{% for y in [3] %}{{ outer.index }}{% endfor %}{% endfor %}"),
    ("for", "{% for x in [1, 2, 3] %}{{ loop }}{% break %}{% endfor %}"),
    ("for", "{% for x in [1, 2, 3] %}{{ loop.depth }}{{ loop.depth0 }}{{ loop.revindex }}{% endfor %}"),
    ("for", "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}"),
    ("for", "{% for x in [1, 1, 2] | map('string') %}{{ loop.length }}{{ loop.last }}{% endfor %}"),
    ("for", "{% for k, v in {'a': 1}.items() %}{{ loop.length }}{{ k }}{{ v }}{% endfor %}"),
    ("for", "{% for x in [1] %}{{ loop.nope }}{% endfor %}"), ("for", "{% for x in [1] %}{{ loop.nope.x }}{% endfor %}"),
    ("loop", "{% set loop = 5 %}{% for x in [1] %}{{ loop.index }}{% endfor %}{{ loop }}"),
    ("recursive", "{% for x in [{'n': 1, 'c': [{'n': 2, 'c': []}]}] recursive %}{{ x.n }}{{ loop.depth }}[{{ loop(x.c) }}]{% endfor %}"),
    ("changed", "{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }}{% endfor %}"), ("changed", "{% for x in [1, 1] %}{{ loop.changed() }}{% endfor %}"),
    ("changed", "{% for x in [1, 1, 2] %}{{ loop.changed(x, x is odd) }}{% endfor %}"),
    ("cycle", "{% for x in [1, 2, 3] %}{{ loop.cycle('a', 'b') }}{% endfor %}"), ("cycle", "{% for x in [1] %}{{ loop.cycle() }}{% endfor %}"),
    ("break", "{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% else %}no{% endfor %}"),
    ("continue", "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{{ loop.index }}{% endfor %}"),
    ("break", "{% break %}"),
    ("if", "{% if 0 %}a{% elif '' %}b{% elif [] %}c{% elif {} %}d{% elif n %}e{% elif none %}f{% elif () %}g{% elif 0.0 %}h{% elif range(0) %}i{% else %}z{% endif %}"),
    ("if", "{% if '0' %}a{% endif %}{% if [0] %}b{% endif %}{% if 0.1 %}c{% endif %}{% if range(1) %}d{% endif %}{{ 1 if n else 2 }}{{ 1 if n }}|"),
    ("if", "{{ 'a' if true else 'b' if false else 'c' }}{{ ('x' if false).y }}"),
    ("set", "{% set a = 1 %}{% set b, c = 2, 3 %}{% set (d, e) = (4, 5) %}{{ a }}{{ b }}{{ c }}{{ d }}{{ e }}"),
    ("set", "{% set a, b = [1] %}{{ a }}"), ("set", "{% set a, b = 'xyz' %}{{ a }}"), ("set", "{% set t = 1, 2 %}{{ t }}{% set u = 1, %}{{ u }}"),
    ("set", "{% set x %}a{{ 1 }}b{% endset %}{{ x }}{{ x is string }}{{ x is escaped }}"), ("set", "{% set x | upper | trim %} a {{ 1 }}b {% endset %}[{{ x }}]"),
    ("set", "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}"), ("set", "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}"),
    ("set", "{% if false %}{% set q = 1 %}{% endif %}{{ q is defined }}"), ("set", "{% set a.b = 1 %}"), ("set", "{% set w.role = 'x' %}{{ w.role }}"),
    ("set", "{% set ns = namespace(l=[]) %}{% set ns.l = ns.l + [1] %}{% set ns.l = ns.l + [2] %}{{ ns.l }}{% set ns.x, ns.y = 1, 2 %}{{ ns.x }}{{ ns.y }}"),
    ("set", "{% set ns = namespace(a=1) %}{% for i in [1, 2, 3] %}{% set ns.a = ns.a * 2 %}{% endfor %}{{ ns.a }}{{ ns.b is defined }}"),
    ("set", "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}"), ("set", "{% set messages = [] %}{{ messages }}"),
    ("with", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% set c = 3 %}{{ c }}{% endwith %}{{ a is defined }}{{ c is defined }}"), ("with", "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}"),
    ("with", "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}"),
    ("macro", "{% macro f(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c='y') }}{{ f(b=5) }}{{ f() }}"),
    ("macro", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}"), ("macro", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, z=2) }}"),
    ("varargs", "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, a=3) }}{{ f() }}"), ("varargs", "{% macro f(a) %}{{ varargs }}{{ kwargs }}{{ a }}{% endmacro %}{{ f(1, 2, z=3) }}"),
    ("macro", "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}"), ("macro", "{% macro f(a, b=[1, 2]) %}{{ f.name }}{{ f.arguments }}{{ f.catch_varargs }}{{ f.catch_kwargs }}{{ f.caller }}{% endmacro %}{{ f(1) }}"),
    ("macro", "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}"), ("macro", "{% set y = 1 %}{% macro f() %}{{ y }}{% endmacro %}{% set y = 2 %}{{ f() }}"),
    ("macro", "{% macro f() %}a{% endmacro %}{{ f() | upper }}{{ f() is string }}{{ f() + 'x' }}{{ f is callable }}{{ f }}"), ("macro", "{% macro f() %}<b>{% endmacro %}{{ f() | e }}{{ f() | length }}"),
    ("macro", "{% for i in [1, 2] %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}"), ("macro", "{% macro f(a, a) %}{% endmacro %}{{ f(1, 2) }}"),
    ("call", "{% macro f(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call f('b') %}in{% endcall %}"), ("call", "{% macro f() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) f() %}{{ a }}-{{ b }}{% endcall %}"),
    ("call", "{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}"), ("call", "{% macro f() %}x{% endmacro %}{% call f() %}in{% endcall %}"),
    ("caller", "{% macro f(caller=none) %}{{ caller() if caller else 'no' }}{% endmacro %}{{ f() }}{% call f() %}yes{% endcall %}"),
    ("filter", "{% filter upper %}a{{ 'b' }}{% endfilter %}{% filter upper | replace('A', 'x') %}ab{% endfilter %}{% filter indent(2) %}a\nb{% endfilter %}"),
    ("block", "{% block a %}in{{ 1 }}{% endblock %}{% block b scoped %}x{% endblock b %}"), ("block", "{% block a %}x{% endblock %}{{ self.a() }}"),
    ("include", "{% include 'x' %}"), ("include", "{% include 'x' ignore missing %}"), ("import", "{% import 'x' as y %}"), ("import", "{% from 'x' import y %}"), ("extends", "{% extends 'x' %}"),
    ("do", "{% do [].append(1) %}"), ("autoescape", "{% autoescape true %}{{ '<' }}{% endautoescape %}"), ("autoescape", "{% autoescape false %}{{ '<' }}{% endautoescape %}"), ("trans", "{% trans %}x{% endtrans %}"), ("debug", "{% debug %}"),
    ("raw", "{% raw %}{{ a }}{% if %}{% endraw %}x"), ("raw", "a \n {%- raw -%} \n b \n {%- endraw -%} \n c"), ("raw", "{% raw %}\n  x\n{% endraw %}\ny"),
    ("generation", "a{% generation %}b{{ 1 }}{% endgeneration %}c"), ("generation", "a\n  {%- generation -%}\n  b \n{%- endgeneration %}\nc"), ("generation", "{% generation %}{% set x = 1 %}{% endgeneration %}{{ x is defined }}"),
    ("generation", "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}"), ("generation", "{% for i in [1, 2] %}{% generation %}{{ loop.index }}{{ i }}{% endgeneration %}{% endfor %}"),
    ("whitespace", "a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), ("whitespace", "a\n  {%- if true -%}\n  b\n  {%- endif -%}\nc\n\n"), ("whitespace", "  {{ 1 }}\n  {{- 2 -}}\n  3"),
    ("whitespace", "a\n\t {%+ if true +%}\nb{% endif %}\n\n"), ("whitespace", "a {# c #}\n  {# d #}\nb{#- e -#} \n f"), ("whitespace", "{% if true %}\r\na\r\n{% endif %}\r\nb\r"), ("whitespace", "{% if true %} \n{% endif %}|"),
    ("whitespace", "x{% if true %}\n\n\ny{% endif %}"), ("whitespace", "\n\n"), ("whitespace", "a\n"), ("whitespace", "{{ 1 }}\n\n"), ("whitespace", "# for x in y\n## z\n"), ("whitespace", "{#a#}{# b\n #}\n{%-  if 1   %}x{%endif%}"),
    ("whitespace", "a\u00a0\n \u00a0{%- if 1 %}b{% endif -%}\u3000\nc"), ("whitespace", "\x0b {%- if 1 %}b{% endif -%}\x1c\x85c"), ("whitespace", "\u00a0{% if 1 %}b{% endif %}"), ("whitespace", "a\x0c  {% if 1 %}\x0c\nb{% endif %}"),
    ("literal", r"{{ '\x41\u00e9\U0001F600\N{SNOWMAN}\N{latin small letter a}\101\0\a\b\f\v\q\'\"\\' }}"), ("literal", r"{{ 'a\tb\nc\rd' }}"), ("ud83d", r"{{ '\ud83d\ude00' | length }}"), ("literal", "{{ 'a\nb' }}{{ 'a\\\nb' }}"), ("literal", r"{{ '\N{NOPE}' }}"), ("literal", r"{{ '\x4' }}"),
    ("literal", "{{ 1_000 }}{{ 0x1F }}{{ 0b101 }}{{ 0o17 }}{{ 1e3 }}{{ 1.5e-3 }}{{ 1_0.5 }}{{ 42.0 }}"), ("literal", "{{ 'a' 'b' \"c\" }}"), ("literal", "{{ True }}{{ False }}{{ None }}{{ true }}{{ none }}"), ("literal", "{{ 007 }}"), ("literal", "{{ 1. }}"), ("literal", "{{ .5 }}"),
    ("literal", "{{ (1) }}{{ (1,) }}{{ () }}{{ (1, 2) }}{{ [1, ] }}{{ {'a': 1, } }}{{ {1: 2, none: 3, (1, 2): 4, true: 5} }}{{ 1, 2 }}"), ("literal", "{{ {'a': 1, 'a': 2} }}"), ("literal", "{{ {[]: 1} }}"), ("literal", "{{ {} is mapping }}{{ {1, 2} }}"),
    ("literal", "{{ 123456789012345678901234567890 }}"), ("literal", "{{ 18446744073709551616 + 1 }}"), ("literal", "{{ 1e400 }}{{ -1e400 }}{{ (1e400 - 1e400) }}"), ("integer", "{{ 99999999999999999999999999999999999999999999 }}"), ("literal", "{{ 9223372036854775807 + 1 }}{{ -9223372036854775808 - 1 }}{{ 9223372036854775807 * 9223372036854775807 }}"),
    ("literal", "{{ -0.0 }}{{ 1e16 }}{{ 123456789.123456789 }}{{ 1e-5 }}{{ 0.0001 }}{{ 1e22 }}{{ 5e-324 }}{{ 1.7976931348623157e308 }}{{ 100000000000000000.0 }}"),
    ("operators", "{{ -2 ** 2 }}{{ 2 ** -1 }}{{ 2 ** 3 ** 2 }}{{ -7 // 2 }}{{ -7 % 3 }}{{ 7 % -3 }}{{ 7.5 // 2 }}{{ -7.5 % 2 }}{{ 1 / 3 }}{{ 6 / 2 }}{{ 2 ** 0.5 }}{{ (-8) ** 2 }}"),
    ("operators", "{{ not 1 == 2 }}{{ not none }}{{ 1 < 2 < 3 }}{{ 3 > 2 > 2 }}{{ 1 < 3 > 2 }}{{ 1 == 1.0 == true }}{{ 1 in [1] == true }}{{ 1 if 1 else 2 + 3 }}"),
    ("operators", "{{ +5 }}{{ -(-5) }}{{ +true }}{{ -true }}{{ - 'a' }}"), ("**", "{{ 2 ** 64 }}{{ 2 ** 127 }}{{ 2 ** 128 }}"), ("**", "{{ 2 ** 200 }}"), ("operators", "{{ +'a' }}"),
    ("operators", "{{ 'a' and 'b' }}{{ '' and 'b' }}{{ 0 or [] }}{{ none or 'x' }}{{ 1 and none }}{{ n or 'd' }}{{ not n }}{{ n and 1 }}|"), ("operators", "{{ 'a' < 'B' }}{{ [1, 2] < [1, 3] }}{{ (1,) < (1, 0) }}{{ 'ä' > 'z' }}"), ("operators", "{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] ~ n ~ {'a': 1} }}"),
    ("operators", "{{ [1, 2] * 2 }}{{ (1,) * 2 }}{{ 'ab' * 0 }}{{ 'ab' * -1 }}{{ [1] + [2] + [3] }}{{ (1,) + (2,) }}"), ("operators", "{{ 'x is %s, %d, %5.2f %%' % ('a', 3, 2.5) }}{{ '%s' % 'a' }}{{ '%s' % [1] }}{{ '%(a)s' % {'a': 1} }}{{ '%r' % 'a' }}{{ '%05d|%-5s|%x|%X|%o|%e|%g|%c' % (42, 'ab', 255, 255, 8, 1.5, 0.0001, 'z') }}"),
    ("operators", "{{ '%s %s' % 'a' }}"), ("operators", "{{ '%d' % 'a' }}"), ("operators", "{{ 'a' % () }}{{ '%s' % n }}"), ("operators", "{{ 7 % 3 + 1 * 2 - 4 // 3 }}{{ 'a%s' % 'b' ~ 'c' }}{{ 'n=%s' % (1 + 1) }}{{ '%s-%s' % (1, 2) | upper }}"), ("operators", "{{ 1 is even or 2 is even and 3 is not odd }}{{ 1 + 1 is even }}{{ 2 is not even }}{{ 4 is divisibleby 2 }}{{ 4 is divisibleby(3) }}{{ 'a' is in 'abc' }}{{ 1 is none is false }}"),
    ("attributes", "{{ {'items': 1}.items }}"), ("attributes", "{{ {'items': 1}['items'] }}{{ {'get': 5}['get'] }}"), ("attributes", "{{ {'keys': 2}.keys() | list }}"), ("attributes", "{{ [1, 2].0 }}"), ("attributes", "{{ [[1, 2]].0.1 }}"), ("attributes", "{{ 'abc'.0 }}{{ 'abc'[1] }}{{ 'abc'[-1] }}{{ 'abc'['upper'] is defined }}"),
    ("attributes", "{{ w.role }}{{ w['role'] }}{{ w.nope }}{{ w['nope'] is defined }}{{ w.nope is undefined }}"), ("attributes", "{{ w.nope.x }}"), ("attributes", "{{ w.nope['x'] }}"), ("attributes", "{{ n.x }}"), ("attributes", "{{ n() }}"), ("attributes", "{{ none.x }}|{{ none.x is defined }}{{ 1.x }}"), ("attributes", "{{ none['x'] }}|{{ (1)['x'] }}"), ("attributes", "{{ ''.__class__ }}"), ("attributes", "{{ ''['__class__'] }}"), ("attributes", "{{ w.__class__.__name__ }}"), ("attributes", "{{ 'a'.upper }}"), ("attributes", "{{ 'a'.nope }}|{{ 'a'.nope() }}"), ("attributes", "{{ [].append is defined }}{{ {}.get is callable }}{{ 'a'.upper is callable }}"), ("attributes", "{{ 'role' in w }}{{ w.get('role') }}{{ w.get('z') }}{{ w.keys() | list }}{{ w.values() | list }}{{ w.items() | list }}"),
    ("attributes", "{{ messages[0].content.strip().split()[0] }}{{ messages[1].nope | default('d') }}"), ("attributes", "{% set f = 'abc'.upper %}{{ f() }}"), ("attributes", "{{ {'a': 1}.a }}{{ {'a': {'b': 2}}['a'].b }}{{ {'a b': 1}['a b'] }}{{ {1: 2}[1] }}{{ {1: 2}[true] }}{{ {1: 2}[1.0] }}{{ {'1': 2}[1] }}|"), ("attributes", "{{ [1][n] }}|{{ 'a'[5] }}|{{ [][0] }}|"), ("attributes", "{{ [][0].x }}"), ("attributes", "{{ [1, 2]['0'] }}|"),
    ("show", "{{ [1, 2.0, true, none, 'a', \"it's\", '\"\\'', '\\n\\t\\x00\\x7f\\xa0\\u200b\\ud7ff好😀\\\\'] }}"), ("show", "{{ {'a': (1,), 'b': {}, 'c': [], 'd': ()} }}"), ("show", "{{ n }}|{{ [n] }}"), ("show", "{{ [range(3), 'a'.upper is callable] }}"), ("show", "{{ {}.keys() }}{{ {'a': 1}.items() }}{{ {'a': 1}.values() }}{{ [{'a': 1}.keys()] }}"), ("show", "{{ ('<' | e) }}{{ ['<' | e] }}{{ ('<' | safe) | string }}"), ("show", "{{ [1, 2] | map('string') }}"), ("namespace", "{{ namespace(a=1) }}"), ("show", "{{ dict }}"), ("show", "{{ range }}"), ("show", "{{ [1.0, 1e100, -0.0, 1e400] }}{{ [1e400 - 1e400] }}"), ("show", "{{ [['a', ['b', {'c': ('d',)}]]] | string }}{{ (1, 'a') | string | length }}"), ("show", "{{ w }}"), ("show", "{{ messages[1:] }}"), ("show", "{{ true | string | lower }}{{ none | string }}{{ 1.0 | string }}"),
    ("markup", "{{ ('<' | e) + '<' }}"), ("markup", "{{ '<' + ('<' | e) }}"), ("markup", "{{ ('<' | e) ~ '<' }}"), ("%", "{{ ('%s' | e) % '<' }}"), ("join", "{{ ['<', '<' | e] | join('<') }}"), ("replace", "{{ ('<b>' | safe) | replace('b', '<') }}"), ("join", "{{ ('a' | safe).join(['<']) }}"), ("markup", "{{ ('<' | safe) * 2 }}{{ ('<' | safe) == '<' }}{{ ('<a' | safe)[0] }}{{ ('<a' | safe).upper() | e }}{{ '<' | e | e }}{{ '<' | forceescape | forceescape }}{{ ('<' | safe) | e }}{{ '<' | e | length }}{{ '<' | e is escaped }}"), ("format", "{{ ('<a' | safe) | upper | e }}{{ ('<a' | safe) | trim | e }}{{ ('<a b' | safe).split()[0] | e }}{{ ('<a' | safe) | string | e }}{{ ('a' | safe).format('<') }}{{ ('<a' | safe)[:1] | e }}"), ("format", "{{ ('{}' | safe).format('<') }}"), ("%", "{{ ('%s' | safe) | format('<') }}"),
    ("globals", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}"), ("globals", "{% set j = joiner(', ') %}{% for i in [1, 2, 3] %}{{ j() }}{{ i }}{% endfor %}"), ("globals", "{% set ns = namespace(a=1) %}{{ ns['a'] }}{{ ns.a is defined }}{{ ns.z is defined }}"), ("globals", "{% set ns = namespace() %}{% set ns._a = 1 %}"),
    ("raise_exception", "{{ raise_exception('my own words') }}"), ("raise_exception", "{{ raise_exception() }}"), ("raise_exception", "{{ raise_exception(1) }}"), ("strftime_now", "{{ strftime_now('%Y') | length }}{{ strftime_now('x%%') }}"), ("strftime_now", "{{ strftime_now('%d %b %Y %B %A %a %j %m %y %-d') | length > 5 }}"),
    ("tests", "{{ 'upper' is filter }}{{ 'nope' is filter }}{{ 'odd' is test }}{{ 'nope' is test }}{{ 'in' is test }}{{ '==' is test }}"), ("tests", "{{ 1 is nope }}"), ("filters", "{{ 1 | nope }}"), ("filters", "{% if false %}{{ 1 | nope }}{% endif %}x"), ("tests", "{% if false %}{{ 1 is nope }}{% endif %}x"), ("filters", "{{ 'a' | upper() | lower }}{{ ('a' | upper).lower() }}{{ -1 | abs }}{{ 2 ** 2 | string }}{{ 'a' ~ 'b' | upper }}"), ("filters", "{{ 'a' | replace(n, 'b') }}"), ("filters", "{{ [3, 1] | sort | first }}{{ 'x,y' | replace(',', '.') | upper }}{{ [1, 2] | sum | string + 'a' }}"), ("functions", "{{ nope() }}"), ("functions", "{{ range(*[1, 3]) | list }}{{ dict(**{'a': 1}) }}"), ("functions", "{{ f(1 }}"), ("functions", "{{ 'a'.replace(*['a', 'b']) }}"), ("functions", "{{ dict(a=1, a=2) }}"), ("_", "{{ _('x') }}"), ("loop", "{{ loop }}"), ("self", "{{ self }}"), ("super", "{{ super() }}"), ("varargs", "{{ varargs is defined }}{{ kwargs is defined }}{{ caller is defined }}"),
]  # fmt: skip


def rows() -> list[tuple[str, str]]:
    found = []

    # Values stand in names: what Jinja2 can work out while it compiles follows other rules.
    def add(name: str, expression: str, **values: str) -> None:
        sets = "".join(f"{{% set {key} = {value} %}}" for key, value in values.items())
        found.append((name, "{% set w = messages[0] %}" + sets + "[{{ " + expression + " }}]"))

    for name, arguments in FILTERS.items():
        tail = " | list" if name in LAZY_FILTERS else ""
        for value, forms in itertools.product(VALUES, ["", *arguments]):
            call = f"({forms})" if forms else ""
            add(name, f"v | {name}{call}{tail}", v=value)
    for name, arguments in TESTS.items():
        for value in VALUES:
            if name in OPERATORS:
                add(name, f"[v] | select('{name}', 1) | list", v=value)
                continue
            for forms in ["", *arguments]:
                add(name, f"v is {name}" + (f"({forms})" if forms else ""), v=value)
    for methods, values in (
        (STR, TEXTS), (LIST, ["[]", "[1, 'a', 1, none]", "[3, 1, 2]"]), (DICT, ["{}", "{'a': 1, 1: 'b'}", "w"]), (TUPLE, ["()", "(1, 'a')"]),
        (INT, ["5", "0", "true"]), (FLOAT, ["2.0", "-2.5"]),
    ):  # fmt: skip
        for (name, arguments), value in itertools.product(methods.items(), values):
            for forms in arguments:
                add(name, f"v.{name}({forms})", v=value)
    for left, operator, right in itertools.product(OPERANDS, BINARY, OPERANDS):
        if operator == "**" and "922" in left + right or operator == "*" and ("922" in left + right and "'" in left + right):
            continue
        add(operator, f"a {operator} b", a=left, b=right)
    for value, piece in itertools.product(SLICED, SLICES + INDICES):
        add("[", f"v[{piece}]" + (" | list" if value == "range(6)" and ":" in piece else ""), v=value)
    for name, expressions in GLOBALS.items():
        for expression in expressions:
            add(name, expression)
    found.extend((name, "{% set w = messages[0] %}" + text if not text.startswith("{% extends") else text) for name, text in STATEMENTS)
    return found


#: Their value is a generator, which shows nothing of itself.
LAZY_FILTERS = ["batch", "slice", "map", "select", "reject", "selectattr", "rejectattr", "unique", "reverse", "items"]


def forgotten() -> set[str]:
    """What Jinja2 or Python has and this table has not."""
    own = {name for name in dir(object)}
    missing = set(jinja2.filters.FILTERS) ^ set(FILTERS) | set(jinja2.tests.TESTS) ^ set(TESTS) | set(jinja2.defaults.DEFAULT_NAMESPACE) ^ set(GLOBALS)
    for kind, methods in ((str, STR), (list, LIST), (dict, DICT), (tuple, TUPLE)):
        missing |= {name for name in dir(kind) if not name.startswith("_") and name not in own} ^ set(methods)
    return missing
