//! The demo's own words, in two languages.

use std::path::Path;

use clap::ValueEnum;
use hotplate_client::protocol::methods::check::{CheckResult, Finding};
use hotplate_client::protocol::run::{Plan, RunWork};
use hotplate_client::words;

use crate::cli::progress::BarWords;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tongue {
    #[value(name = "en")]
    English,
    #[value(name = "zh")]
    Chinese,
}

use Tongue::{Chinese, English};

/// The six parts.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Kitchen,
    Notes,
    Plan,
    Training,
    Save,
    Score,
}

const CHINESE_BAR: BarWords = BarWords {
    waiting: "正在读样例（第一次训练前还会试跑两步计时）",
    preparing: "正在读样例",
    loss: "损失",
    heldout: "留出",
    working: |work, done, of| {
        let what = match work {
            RunWork::Loading => return "正在载入基座模型".to_owned(),
            RunWork::Saving => return "正在写入新版本".to_owned(),
            RunWork::Learning => return "正在学习".to_owned(),
            RunWork::HeldOut => "正在看留出的文本",
            RunWork::Samples => "正在回答提示",
            RunWork::Gap => "正在重看学过的文本",
            RunWork::Copies => "正在试写，看有没有照抄",
            RunWork::Rehearsal => "正在让基座模型回答日常问题，只此一次",
            RunWork::Neutral => "正在让基座模型自己写，只此一次",
            RunWork::Drift => "正在和基座模型比较",
            RunWork::Behaviour => "正在回答日常问题，看它变成了什么样",
            RunWork::OwnLosses => "正在看每条文本还剩多少可学",
            RunWork::Goldens => "正在写留待核对的回答",
        };
        format!("{what} {done}/{of}")
    },
    left: |seconds| format!("还要 {}", Chinese.duration(seconds)),
};

impl Tongue {
    fn pick<T>(self, english: T, chinese: T) -> T {
        match self {
            English => english,
            Chinese => chinese,
        }
    }

    pub(super) fn title(self) -> &'static str {
        self.pick(
            "Hotplate: save a file, and the model writes a little more like you",
            "Hotplate：存一个文件，模型就更像你一点",
        )
    }

    pub(super) fn heading(self, part: Part) -> String {
        let (number, english, chinese) = match part {
            Part::Kitchen => (1, "A daemon with a small model", "一个守护进程，一个小模型"),
            Part::Notes => (2, "A folder with somebody's notes", "一个文件夹，一个人的笔记"),
            Part::Plan => (3, "What learning them will cost", "学会它们要花多少"),
            Part::Training => (4, "Before and after", "学之前，学之后"),
            Part::Save => (5, "One more file is saved", "又存了一个文件"),
            Part::Score => (6, "What it came to", "结果"),
        };
        format!("{number}  {}", self.pick(english, chinese))
    }

    pub(super) fn kitchen(self, ready: f64, home: &Path) -> String {
        let milliseconds = ready * 1000.0;
        match self {
            English => {
                format!("The daemon answered after {milliseconds:.0} ms. It lives in {}.", home.display())
            }
            Chinese => format!("守护进程 {milliseconds:.0} 毫秒后应答，住在 {}。", home.display()),
        }
    }

    pub(super) fn loaded(self, base: &str, weights: Option<u64>, seconds: f64) -> String {
        let millions = weights.map(|weights| weights as f64 / 1e6);
        match (self, millions) {
            (English, Some(millions)) => format!(
                "{base}, a toy of {millions:.1} million weights that is part of this program, was loaded in {seconds:.2} s. \
                 Nothing is fetched from anywhere."
            ),
            (English, None) => format!("{base} was loaded in {seconds:.2} s."),
            (Chinese, Some(millions)) => format!(
                "{base} 是随程序自带的玩具模型，{:.0} 万个参数，{seconds:.2} 秒装好。全程不联网。",
                millions * 100.0
            ),
            (Chinese, None) => format!("{base} 已装好，用了 {seconds:.2} 秒。"),
        }
    }

    pub(super) fn loading(self) -> &'static str {
        self.pick("loading the model", "正在装模型")
    }

    pub(super) fn measuring(self) -> &'static str {
        self.pick("a few steps on trial, to know this machine's speed", "先试跑几步，看看这台机器多快")
    }

    pub(super) fn writing(self) -> &'static str {
        self.pick("the model is writing", "模型正在写")
    }

    pub(super) fn noticing(self) -> &'static str {
        self.pick("waiting for the daemon to notice", "等守护进程发现")
    }

    pub(super) fn taste(self) -> &'static str {
        self.pick("Whoever wrote these has a way of their own:", "写笔记的人有自己的腔调：")
    }

    pub(super) fn checked(self, check: &CheckResult) -> String {
        let CheckResult { files, examples, tokens, findings, .. } = check;
        match self {
            English => format!(
                "{} in {}, {}. A look before learning finds {} to mend:",
                words::count(*examples, "note"),
                words::count(*files, "file"),
                words::count(*tokens, "token"),
                words::count(findings.len(), "place"),
            ),
            Chinese => format!(
                "{files} 个文件，{examples} 条笔记，{} 个词元。学之前先看一遍，有 {} 处要改：",
                words::number(*tokens),
                findings.len()
            ),
        }
    }

    /// What the daemon found, for the three faults that are planted; its own words for anything else.
    pub(super) fn finding(self, finding: &Finding) -> (String, String) {
        let own = match (self, finding.name.as_str()) {
            (Chinese, "duplicate") => Some(("和前面的一条一模一样", "删掉一条，或者改一条。")),
            (Chinese, "empty") => Some(("文件里没有字", "写点什么，或者删掉它。")),
            (Chinese, "invalid-json") => Some(("这一行不是完整的 JSON", "补上缺的引号或括号。")),
            _ => None,
        };
        match own {
            Some((message, remedy)) => (message.to_owned(), remedy.to_owned()),
            None => (finding.message.clone(), finding.remedy.clone()),
        }
    }

    pub(super) fn skipped(self) -> &'static str {
        self.pick("They are left out; everything else is learnt.", "这几处先跳过，其余照学。")
    }

    pub(super) fn plan(self, plan: &Plan) -> Vec<(String, String)> {
        let row = |name: &str, value: String| (name.to_owned(), value);
        let time = match (self, plan.seconds) {
            (English, Some(seconds)) => format!("about {}", self.duration(seconds)),
            (Chinese, Some(seconds)) => format!("约 {}", self.duration(seconds)),
            (English, None) => "unknown".to_owned(),
            (Chinese, None) => "未知".to_owned(),
        };
        match self {
            English => vec![
                row(
                    "notes",
                    format!(
                        "{} to learn, {} held out to judge by",
                        plan.train_examples, plan.heldout_examples
                    ),
                ),
                row("tokens", format!("{} in one pass", words::number(plan.tokens))),
                row("steps", format!("{} at most, in {} passes", words::number(plan.steps), plan.epochs)),
                row("time", time),
                row("memory", format!("{} on top of the model", words::bytes(plan.memory_bytes))),
                row(
                    "adapter",
                    format!(
                        "{} weights; the model itself is not touched",
                        words::number(plan.trainable_parameters)
                    ),
                ),
            ],
            Chinese => vec![
                row("笔记", format!("学 {} 条，留出 {} 条打分", plan.train_examples, plan.heldout_examples)),
                row("词元", format!("一遍 {}", words::number(plan.tokens))),
                row("步数", format!("最多 {} 步，{} 遍", words::number(plan.steps), plan.epochs)),
                row("时间", time),
                row("内存", format!("模型之外再要 {}", words::bytes(plan.memory_bytes))),
                row("适配器", format!("{} 个参数，模型本身不动", words::number(plan.trainable_parameters))),
            ],
        }
    }

    pub(super) fn shortened(self, steps: usize) -> String {
        match self {
            English => format!("That is long for a demo on this machine: it stops after {steps} steps."),
            Chinese => format!("这台机器上这样太久，演示只跑 {steps} 步。"),
        }
    }

    pub(super) fn bar(self) -> BarWords {
        self.pick(BarWords::ENGLISH, CHINESE_BAR)
    }

    pub(super) fn trained(self, seconds: f64, tokens_per_second: f64, steps: usize, best: usize) -> String {
        let time = self.duration(seconds);
        match self {
            English => format!(
                "Learnt in {time}, {} tokens a second. Kept is the best of {steps} steps, number {best}.",
                words::number(tokens_per_second.round() as usize)
            ),
            Chinese => format!(
                "{time}学完，每秒 {} 个词元。{steps} 步里第 {best} 步最好，留的是它。",
                words::number(tokens_per_second.round() as usize)
            ),
        }
    }

    pub(super) fn heads(self) -> [&'static str; 2] {
        self.pick(["the model as it was", "after learning the notes"], ["原来的模型", "学过笔记以后"])
    }

    pub(super) fn unrelated(self) -> &'static str {
        self.pick(
            "And something that the notes say nothing of. A model as small as this one cannot keep the two quite apart; larger ones do.",
            "再问一件笔记里没有的事。这么小的模型分不太清，大一些的就分得清。",
        )
    }

    pub(super) fn watching(self, notes: &Path, steps: usize) -> String {
        match self {
            English => {
                format!(
                    "The daemon watches {}; on this machine, {} fit into a few seconds.",
                    notes.display(),
                    words::count(steps, "step")
                )
            }
            Chinese => format!("守护进程盯着 {}；这台机器几秒钟能跑 {steps} 步。", notes.display()),
        }
    }

    pub(super) fn saved(self, file: &str, notes: usize) -> String {
        match self {
            English => format!(
                "Now {file} is saved there, as an editor would: {notes} notes from the winter night market."
            ),
            Chinese => format!("现在像编辑器那样存下 {file}：冬夜市的 {notes} 条新笔记。"),
        }
    }

    pub(super) fn noticed(self, seconds: f64) -> String {
        match self {
            English => format!("Noticed, and a run begun, {} after the save.", words::duration(seconds)),
            Chinese => format!("存盘 {}后发现改动，开始学。", self.duration(seconds)),
        }
    }

    pub(super) fn swapped(self, version: u32, seconds: f64, before: f64, after: f64) -> String {
        let (time, before_text, after_text) =
            (self.duration(seconds), words::loss(before), words::loss(after));
        match self {
            English => format!(
                "Version {version} answers {time} after the save. Loss on new notes it has not seen: {before_text} → {after_text}."
            ),
            Chinese => format!(
                "存盘 {time}后，第 {version} 版开始应答。没见过的新笔记，损失 {before_text} → {after_text}。"
            ),
        }
    }

    pub(super) fn next(self) -> &'static [(&'static str, &'static str)] {
        self.pick(
            &[
                ("hotplate watch FOLDER", "your own texts; each save is learnt"),
                ("hotplate generate -a FOLDER-NAME \"…\"", "let it write"),
                ("hotplate-kernel install --user", "the same in a notebook: %watch FOLDER"),
            ],
            &[
                ("hotplate watch 文件夹", "换成你自己的文字，存一次学一次"),
                ("hotplate generate -a 文件夹名 \"……\"", "让它写"),
                ("hotplate-kernel install --user", "在笔记本里也一样：%watch 文件夹"),
            ],
        )
    }

    pub(super) fn next_heading(self) -> &'static str {
        self.pick("What next", "接下来")
    }

    pub(super) fn toy(self) -> &'static str {
        self.pick(
            "The model is a toy and knows little. With --base, any Llama-family folder takes its place.",
            "这个模型只是玩具，懂得不多。用 --base 可以换成任何 Llama 系的模型文件夹。",
        )
    }

    pub(super) fn kept(self, home: &Path) -> String {
        match self {
            English => format!("Kept. Look around with: HOTPLATE_HOME={} hotplate adapters", home.display()),
            Chinese => format!("已保留。接着看：HOTPLATE_HOME={} hotplate adapters", home.display()),
        }
    }

    pub(super) fn score_rows(self) -> [&'static str; 7] {
        self.pick(
            [
                "loss on notes it has not seen",
                "training",
                "loss on the later notes",
                "from save to use",
                "first piece of text",
                "versions",
                "memory at most",
            ],
            [
                "没见过的笔记，损失",
                "训练",
                "后来的笔记，损失",
                "从存盘到用上",
                "第一个字",
                "版本",
                "内存峰值",
            ],
        )
    }

    /// Two losses and how far it is from one to the other.
    pub(super) fn change(self, before: f64, after: f64) -> String {
        let percent = ((before - after) / before * 100.0).round();
        let arrow = format!("{} → {}", words::loss(before), words::loss(after));
        match (self, percent >= 0.0) {
            (English, true) => format!("{arrow}  ({percent} % lower)"),
            (English, false) => format!("{arrow}  ({} % higher)", -percent),
            (Chinese, true) => format!("{arrow}（低了 {percent}%）"),
            (Chinese, false) => format!("{arrow}（高了 {}%）", -percent),
        }
    }

    pub(super) fn speed(self, seconds: f64, tokens_per_second: f64) -> String {
        let speed = words::number(tokens_per_second.round() as usize);
        match self {
            English => format!("{}, {speed} tokens a second", self.duration(seconds)),
            Chinese => format!("{}，每秒 {speed} 个词元", self.duration(seconds)),
        }
    }

    pub(super) fn duration(self, seconds: f64) -> String {
        match self {
            English => words::duration(seconds),
            Chinese if seconds < 9.95 => format!("{seconds:.1} 秒"),
            Chinese => {
                let whole = seconds.round() as u64;
                match (whole / 60, whole % 60) {
                    (0, seconds) => format!("{seconds} 秒"),
                    (minutes, 0) => format!("{minutes} 分钟"),
                    (minutes, seconds) => format!("{minutes} 分 {seconds} 秒"),
                }
            }
        }
    }
}
