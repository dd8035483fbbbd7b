use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::*;
use crate::base_spec::BaseSpec;
use crate::config::DecoderConfig;
use crate::fixtures;
use crate::generate::Finish;
use crate::lora::{Adapter, Linear, Lora};
use crate::sampling::SamplingOptions;

fn options(seed: u64, max_tokens: usize) -> SamplingOptions {
    // Every third one draws, the others take the likeliest token.
    let temperature = if seed % 3 == 2 { 1.0 } else { 0.0 };
    SamplingOptions { temperature, seed, max_tokens, ignore_eos: true, ..SamplingOptions::default() }
}

fn prompt(length: usize) -> Vec<u32> {
    (0..length as u32).map(|at| (at * 5 + length as u32) % 24).collect()
}

fn generation(base: &Base, adapter: Option<&Arc<Adapter>>, number: usize) -> Generation {
    let (prompt, options) = (prompt(1 + number % 9), options(number as u64, 3 + number % 7));
    Generation::new(base, adapter.cloned(), prompt, options).unwrap()
}

/// All events of an answer that nobody disturbs.
fn alone(base: &Base, mut answer: Generation) -> Vec<GenerationEvent> {
    let mut events = Vec::new();
    loop {
        events.push(answer.step(base).unwrap());
        if matches!(events.last(), Some(GenerationEvent::Done { .. })) {
            return events;
        }
    }
}

/// The same for several of which one more joins in each round, and each leaves when it is over.
fn joining(base: &Base, answers: Vec<Generation>) -> Vec<Vec<GenerationEvent>> {
    let mut events: Vec<Vec<GenerationEvent>> = answers.iter().map(|_| Vec::new()).collect();
    let mut waiting = answers.into_iter().enumerate();
    let mut live: Vec<(usize, Generation)> = Vec::new();
    loop {
        live.extend(waiting.next());
        if live.is_empty() {
            return events;
        }
        let mut rows: Vec<&mut Generation> = live.iter_mut().map(|(_, answer)| answer).collect();
        let stepped = step_together(base, &mut rows);
        assert_eq!(stepped.len(), live.len());
        for ((index, _), event) in live.iter().zip(stepped) {
            events[*index].push(event.unwrap());
        }
        live.retain(|(index, _)| !matches!(events[*index].last(), Some(GenerationEvent::Done { .. })));
    }
}

fn adapters(base: &Base) -> [Option<Arc<Adapter>>; 4] {
    let decoder = &base.decoder;
    [
        Some(Arc::new(fixtures::adapter(decoder, 3))),
        None,
        Some(Arc::new(fixtures::adapter_everywhere(decoder, 2))),
        Some(Arc::new(fixtures::adapter(decoder, 5))),
    ]
}

fn base_of(own: &str) -> Base {
    let json = format!(
        r#"{{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 20, "vocab_size": 24, "max_position_embeddings": 64, {own}}}"#
    );
    let config = DecoderConfig::parse(json.as_bytes(), std::path::Path::new("config.json")).unwrap();
    let decoder = fixtures::decoder_of(config.clone(), 4);
    Base::of(Arc::new(BaseSpec::for_tests(config)), decoder, Device::Cpu)
}

#[test]
fn answers_with_adapters_of_their_own_are_those_that_they_are_alone() {
    let bases = [
        fixtures::base(3),
        // Windows; keys that are read again beyond four tokens; keys that are turned by the length so far.
        base_of(r#""model_type": "mistral", "sliding_window": 3"#),
        base_of(
            r#""model_type": "phi3", "partial_rotary_factor": 0.5, "original_max_position_embeddings": 4,
            "rope_scaling": {"type": "longrope", "short_factor": [1.5], "long_factor": [3.0]}"#,
        ),
        base_of(r#""model_type": "llama", "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}"#),
    ];
    for base in &bases {
        let adapters = adapters(base);
        // More than fit into one pass.
        let answers =
            || (0..MOST_TOGETHER + 7).map(|number| generation(base, adapters[number % 4].as_ref(), number));
        let wanted: Vec<_> = answers().map(|answer| alone(base, answer)).collect();
        assert!(wanted.iter().any(|events| events.len() > 5));
        assert_eq!(joining(base, answers().collect()), wanted);
    }
}

#[test]
fn a_prompt_is_read_by_itself_while_others_write() {
    let base = base_of(r#""model_type": "llama""#);
    let mut short = generation(&base, None, 1);
    assert_eq!(short.turn(&base), Turn::Reads);
    short.step(&base).unwrap();
    assert_eq!(short.turn(&base), Turn::Writes);
    let mut long = Generation::new(&base, None, prompt(40), options(0, 1)).unwrap();
    let events = step_together(&base, &mut [&mut long, &mut short]);
    assert!(matches!(events[0], Ok(GenerationEvent::Done { finish: Finish::Length, .. })), "{events:?}");
    assert!(matches!(&events[1], Ok(GenerationEvent::Delta { token_ids, .. }) if token_ids.len() == 1));
    assert_eq!(long.turn(&base), Turn::Ends);
    let events = step_together(&base, &mut [&mut long]);
    assert!(matches!(&events[0], Ok(GenerationEvent::Done { token_ids, .. }) if token_ids.is_empty()));
    assert!(step_together(&base, &mut []).is_empty());
}

/// One adapter computes no numbers, one does not fit the base's layers: the others do not notice.
#[test]
fn an_answer_that_fails_does_not_take_others_along() {
    let base = fixtures::base(3);
    let changed = |change: fn(&Lora) -> Lora| {
        let mut adapter = fixtures::adapter(&base.decoder, 3);
        let pair = change(adapter.layers[1].get(Linear::Down).unwrap());
        adapter.layers[1].set(Linear::Down, pair);
        Arc::new(adapter)
    };
    let no_numbers = changed(|pair| pair.with_factors(pair.a.clone(), (&pair.b / 0.0).unwrap()));
    let misfit =
        changed(|pair| pair.with_factors(Tensor::cat(&[&pair.a, &pair.a], 1).unwrap(), pair.b.clone()));
    let sound = Arc::new(fixtures::adapter(&base.decoder, 3));
    let started = |number| {
        let mut answer = generation(&base, Some(&sound), number);
        answer.step(&base).unwrap();
        answer
    };
    for (broken, not_finite) in [(no_numbers, true), (misfit, false)] {
        let wanted = [started(4).step(&base).unwrap(), started(5).step(&base).unwrap()];
        let (mut first, mut failing, mut last) = (started(4), started(6), started(5));
        failing.adapter = Some(broken);
        let events = step_together(&base, &mut [&mut first, &mut failing, &mut last]);
        assert_eq!(events[0].as_ref().unwrap(), &wanted[0]);
        assert_eq!(events[2].as_ref().unwrap(), &wanted[1]);
        let error = events[1].as_ref().unwrap_err();
        assert_eq!(matches!(error, GenerateError::NotFinite { .. }), not_finite, "{error}");
    }
}
