//! What each rule of a grammar does to a document's memory, found before anything is expanded.

use std::collections::{BTreeMap, BTreeSet};

use super::{GrammarError, MAX_DEPTH, Place, Rule, Slot, What};

/// What expanding a rule does to the memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Effect {
    /// Remembered for sure once the rule has been expanded.
    pub(super) binds: BTreeSet<String>,
    /// Must have been remembered before; with a place that says so.
    pub(super) needs: BTreeMap<String, Place>,
}

/// Checks that no rule contains itself and works out what each does to the memory.
pub(super) fn effects(rules: &[Rule]) -> Result<Vec<Effect>, GrammarError> {
    let mut walk =
        Walk { rules, states: vec![State::New; rules.len()], effects: vec![Effect::default(); rules.len()] };
    for rule in 0..rules.len() {
        walk.visit(rule, 1)?;
    }
    Ok(walk.effects)
}

#[derive(Clone, Copy)]
enum State {
    New,
    Open,
    /// With the depth of the rules below, itself included.
    Done(usize),
}

/// Depth first: a rule's effect needs those of the rules in it.
struct Walk<'g> {
    rules: &'g [Rule],
    states: Vec<State>,
    effects: Vec<Effect>,
}

impl Walk<'_> {
    fn visit(&mut self, number: usize, depth: usize) -> Result<usize, GrammarError> {
        let rules = self.rules;
        let (rule, state) = (&rules[number], self.states[number]);
        match state {
            State::Done(height) => return Ok(height),
            State::Open => return Err(GrammarError::Cycle { at: rule.at.clone(), rule: rule.name.clone() }),
            State::New if depth > MAX_DEPTH => return Err(GrammarError::TooDeep { at: rule.at.clone() }),
            State::New => {}
        }
        self.states[number] = State::Open;
        let mut height = 1;
        for alternative in &rule.alternatives {
            for below in alternative.slots().filter_map(|slot| slot.what.rule()) {
                height = height.max(1 + self.visit(below, depth + 1)?);
                if height > MAX_DEPTH {
                    return Err(GrammarError::TooDeep { at: alternative.at.clone() });
                }
            }
        }
        self.effects[number] = self.effect(rule);
        self.states[number] = State::Done(height);
        Ok(height)
    }

    fn effect(&self, rule: &Rule) -> Effect {
        let mut needs = BTreeMap::new();
        let mut binds: Option<BTreeSet<String>> = None;
        for alternative in &rule.alternatives {
            let mut bound = BTreeSet::new();
            for slot in alternative.slots() {
                self.step(slot, &alternative.at, &mut bound, &mut needs);
            }
            binds = Some(match binds {
                Some(binds) => binds.intersection(&bound).cloned().collect(),
                None => bound,
            });
        }
        Effect { binds: binds.unwrap_or_default(), needs }
    }

    /// One slot further: `bound` is what the alternative has remembered for sure up to here.
    fn step(
        &self,
        slot: &Slot,
        at: &Place,
        bound: &mut BTreeSet<String>,
        needs: &mut BTreeMap<String, Place>,
    ) {
        if let What::Repeated(name) = &slot.what {
            if !bound.contains(name) {
                needs.entry(name.clone()).or_insert_with(|| at.clone());
            }
            return;
        }
        if let Some(below) = slot.what.rule().map(|rule| &self.effects[rule]) {
            for (name, place) in below.needs.iter().filter(|(name, _)| !bound.contains(*name)) {
                needs.entry(name.clone()).or_insert_with(|| place.clone());
            }
            // A remembered rule is not expanded again, and then what is inside it is not remembered either.
            if !slot.optional && matches!(slot.what, What::Fresh(_)) {
                bound.extend(below.binds.iter().cloned());
            }
        }
        if let What::Remembered(_, name) = &slot.what
            && !slot.optional
        {
            bound.insert(name.clone());
        }
    }
}
