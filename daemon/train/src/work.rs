//! What a run is at between two of its events, and how far it has come: for whoever shows it and reckons how long it takes. No clock here either.

/// A piece of a run's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkKind {
    /// The base answers everyday prompts, once for each base; counts tokens.
    Rehearsal,
    /// An optimiser step; counts layers of rows.
    Learning,
    /// The held-out examples are looked at; counts examples.
    HeldOut,
    /// Answers to the recipe's prompts are written; counts tokens.
    Samples,
    /// What is kept is measured on what it learnt; counts examples.
    Gap,
    /// What is kept writes, to see whether it copies; counts tokens.
    Copies,
    /// The base writes texts of its own, once for each base; counts tokens.
    Neutral,
    /// How far what was learnt, or is kept, has moved from the base; counts rows.
    Drift,
    /// What is kept answers everyday questions, to see what it has become; counts tokens.
    Behaviour,
}

/// How much of it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    pub kind: WorkKind,
    pub done: usize,
    pub of: usize,
}

/// How far a run has come. Steps are those of its phase: cross-validation, and what follows it, each count from 0.
#[expect(clippy::struct_excessive_bools, reason = "each is true of a run by itself")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub step: usize,
    /// `None`: not even the start has been judged.
    pub best_step: Option<usize>,
    /// The last look at the held-out examples that brought a gain; 0: none yet.
    pub gained_step: usize,
    /// Looks since.
    pub without_gain: usize,
    /// At most.
    pub steps: usize,
    /// That do each step: one, or one for each fold.
    pub learners: usize,
    /// Cross-validation is over, and all examples are being learnt.
    pub after_folds: bool,
    /// Something was learnt since the held-out examples were last looked at.
    pub unjudged: bool,
    /// Nothing more is learnt.
    pub stopped: bool,
    /// The base must still answer what is rehearsed.
    pub to_rehearse: bool,
}
