use super::*;
use crate::fixtures::{self, decoder_of};
use crate::fixtures::{distance, flat, random};

/// A tiny base of each family, with every feature that it may have.
fn families() -> Vec<(&'static str, DecoderConfig)> {
    let sizes = r#""hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 20, "vocab_size": 24, "max_position_embeddings": 64"#;
    [
        ("llama", r#""model_type": "llama", "head_dim": 6, "attention_bias": true, "mlp_bias": true"#),
        ("mistral", r#""model_type": "mistral", "sliding_window": 3"#),
        (
            "qwen2",
            r#""model_type": "qwen2", "use_sliding_window": true, "sliding_window": 2, "max_window_layers": 1"#,
        ),
        ("qwen3", r#""model_type": "qwen3", "head_dim": 6"#),
        ("smollm3", r#""model_type": "smollm3", "no_rope_layers": [1, 0]"#),
        (
            "gemma3",
            r#""model_type": "gemma3_text", "head_dim": 6, "sliding_window": 3, "query_pre_attn_scalar": 10,
            "layer_types": ["sliding_attention", "full_attention"]"#,
        ),
        (
            "phi3",
            r#""model_type": "phi3", "partial_rotary_factor": 0.5, "original_max_position_embeddings": 4,
            "rope_scaling": {"type": "longrope", "short_factor": [1.5], "long_factor": [3.0]}"#,
        ),
    ]
    .into_iter()
    .map(|(name, own)| {
        let json = format!("{{{sizes}, {own}}}");
        (name, DecoderConfig::parse(json.as_bytes(), std::path::Path::new("config.json")).unwrap())
    })
    .collect()
}

fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|at| (at * 7 + 3) % 24).collect()
}

/// `sum(block(x) * dy)` and its claimed slope along a direction, against a central difference.
fn check(what: &str, claimed: &Tensor, along: &Tensor, step: f64, value: impl Fn(f64) -> f64) {
    let measured = (value(step) - value(-step)) / (2.0 * step);
    let claimed = f64::from((claimed * along).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
    assert!((measured - claimed).abs() < 1e-2 * (1.0 + measured.abs()), "{what}: {measured} {claimed}");
}

fn dot(y: &Tensor, dy: &Tensor) -> f64 {
    let product = (y * dy).unwrap().to_dtype(DType::F64).unwrap();
    product.sum_all().unwrap().to_scalar::<f64>().unwrap()
}

fn moved(at: &Tensor, along: &Tensor, by: f64) -> Tensor {
    (at + (along * by).unwrap()).unwrap()
}

#[test]
fn the_gradients_of_every_familys_block_agree_with_finite_differences() {
    const STEP: f64 = 2e-3;
    for (name, config) in families() {
        let decoder = decoder_of(config, 7);
        let adapter = fixtures::adapter(&decoder, 3);
        let (one, two) = (tokens(6), tokens(3));
        let context = decoder.context(&Batch::packed([one.as_slice(), &two])).unwrap();
        let (x, dy) = (random(&[9, 16], 1), random(&[9, 16], 2));
        for layer in 0..2 {
            let pairs = &adapter.layers[layer];
            let run = |decoder: &Decoder, x: &Tensor, pairs: Option<&LayerAdapter>| {
                dot(
                    &decoder
                        .block_forward(layer, x, &context, BlockAdapters::Same(pairs), &mut [])
                        .unwrap()
                        .0,
                    &dy,
                )
            };
            let (_, kept) = decoder
                .block_forward(layer, &x, &context, BlockAdapters::Same(Some(pairs)), &mut [])
                .unwrap();
            let back =
                decoder.block_backward(layer, &kept, &dy, &context, WantGradients::Adapter(pairs)).unwrap();
            let along = random(x.dims(), 3);
            check(name, &back.dx, &along, STEP, |by| run(&decoder, &moved(&x, &along, by), Some(pairs)));
            assert_eq!(back.slots.len(), 2 * Linear::of(&decoder.config).len());
            for (slot, gradient) in &back.slots {
                let along = random(gradient.dims(), 4);
                check(&format!("{name} {layer} {slot:?}"), gradient, &along, STEP, |by| {
                    let mut other = pairs.clone();
                    let (Slot::LoraA(linear) | Slot::LoraB(linear)) = *slot else { panic!("{slot:?}") };
                    let mut pair = pairs.get(linear).unwrap().clone();
                    let place = if matches!(slot, Slot::LoraA(_)) { &mut pair.a } else { &mut pair.b };
                    *place = moved(place, &along, by);
                    other.set(linear, pair);
                    run(&decoder, &x, Some(&other))
                });
            }
            let (_, kept) =
                decoder.block_forward(layer, &x, &context, BlockAdapters::Same(None), &mut []).unwrap();
            let back = decoder.block_backward(layer, &kept, &dy, &context, WantGradients::Weights).unwrap();
            let biases = Linear::of(&decoder.config).iter().filter(|linear| decoder.config.biased(**linear));
            let trainable =
                Linear::of(&decoder.config).len() + biases.count() + Norm::of(&decoder.config).count();
            assert_eq!(back.slots.len(), trainable, "{name}");
            for (slot, gradient) in &back.slots {
                let along = random(gradient.dims(), 5);
                check(&format!("{name} {layer} {slot:?}"), gradient, &along, STEP, |by| {
                    let mut other = decoder.clone();
                    let block = &mut other.blocks[layer];
                    match *slot {
                        Slot::Weight(linear) => {
                            let old = block.linear(linear);
                            let new = FrozenLinear::new(
                                moved(&old.weight().values().unwrap(), &along, by),
                                old.bias().cloned(),
                            );
                            block.set_linear(linear, new);
                        }
                        Slot::Bias(linear) => {
                            let old = block.linear(linear);
                            let bias = moved(old.bias().unwrap(), &along, by);
                            block.set_linear(linear, FrozenLinear::new(old.weight().clone(), Some(bias)));
                        }
                        Slot::Norm(norm) => {
                            let factor = moved(block.norm(norm).unwrap(), &along, by);
                            block.set_norm(norm, factor);
                        }
                        Slot::LoraA(_) | Slot::LoraB(_) => panic!("{slot:?}"),
                    }
                    run(&other, &x, None)
                });
            }
        }
        let dx = decoder.embed_backward(&one, &dy.narrow(0, 0, 6).unwrap()).unwrap();
        let along = random(dx.dims(), 6);
        check(name, &dx, &along, STEP, |by| {
            let mut other = decoder.clone();
            other.embedding = moved(&decoder.embedding.values().unwrap(), &along, by).into();
            dot(&other.embed(&one).unwrap(), &dy.narrow(0, 0, 6).unwrap())
        });
    }
}

#[test]
fn packed_examples_equal_examples_alone() {
    for (name, config) in families() {
        let decoder = decoder_of(config, 5);
        // The longer one is beyond Phi-3's original context, the shorter one is not.
        let (one, two) = (tokens(9), tokens(3));
        let both = decoder.forward(&Batch::packed([one.as_slice(), &two]), None, None).unwrap();
        let alone = |tokens: &[u32]| decoder.forward(&Batch::packed([tokens]), None, None).unwrap();
        assert!(distance(&both.narrow(0, 0, 9).unwrap(), &alone(&one)) < 1e-5, "{name}");
        assert!(distance(&both.narrow(0, 9, 3).unwrap(), &alone(&two)) < 1e-5, "{name}");
    }
}

#[test]
fn a_cache_gives_the_numbers_of_the_whole() {
    for (name, config) in families() {
        let decoder = decoder_of(config, 5);
        let all = tokens(12);
        let whole = decoder.forward(&Batch::packed([all.as_slice()]), None, None).unwrap();
        let mut cache = KvCache::default();
        let mut parts = Vec::new();
        for range in [0..5, 5..7, 7..8, 8..9, 9..12] {
            let batch = Batch::part(&all[range.clone()], range.start, 12);
            parts.push(decoder.forward(&batch, None, Some(&mut cache)).unwrap());
        }
        assert!(distance(&Tensor::cat(&parts, 0).unwrap(), &whole) < 1e-5, "{name}");
        assert!(!decoder.outgrown(&cache, 13), "{name}");
    }
}

#[test]
fn only_longrope_outgrows_its_cache() {
    for (name, config) in families() {
        let decoder = decoder_of(config, 5);
        let mut cache = KvCache::default();
        assert!(!decoder.outgrown(&cache, 5));
        decoder.forward(&Batch::continuation(&tokens(4), 0), None, Some(&mut cache)).unwrap();
        assert!(!decoder.outgrown(&cache, 4));
        assert_eq!(decoder.outgrown(&cache, 5), name == "phi3");
    }
}

#[test]
fn weights_keep_their_checkpoint_names_and_values() {
    for (name, config) in families() {
        let decoder = decoder_of(config, 5);
        let named = decoder.named_weights().unwrap();
        let total: usize = named.iter().map(|(_, tensor)| tensor.elem_count()).sum();
        assert_eq!(total as u64, decoder.parameters(), "{name}");
        let get = |wanted: &str| named.iter().find(|(name, _)| name == wanted).map(|(_, tensor)| tensor);
        let last = get("model.norm.weight").unwrap().to_vec1::<f32>().unwrap()[0];
        assert!((last - if name == "gemma3" { 0.0 } else { 1.0 }).abs() < 1e-6, "{name}");
        assert_eq!(get("model.layers.1.self_attn.qkv_proj.weight").is_some(), name == "phi3");
        assert_eq!(
            get("model.layers.1.self_attn.q_norm.weight").is_some(),
            ["qwen3", "gemma3"].contains(&name)
        );
        assert_eq!(get("lm_head.weight").is_none(), ["smollm3", "gemma3"].contains(&name));
    }
}

/// Weights stored in 16 bits are widened in the products: not a bit may differ from weights that were widened before.
#[test]
fn stored_in_16_bits_is_the_same_as_widened_before() {
    use candle_core::DType;

    use hotplate_gemm::{Machine, Values};
    for (name, config) in families() {
        let as_type = |dtypes: &[DType]| {
            let mut decoder = decoder_of(config.clone(), 5);
            let cast = |tensor: &Tensor| {
                dtypes.iter().fold(tensor.clone(), |tensor, dtype| tensor.to_dtype(*dtype).unwrap())
            };
            decoder.embedding = cast(&decoder.embedding.values().unwrap()).into();
            decoder.head = FrozenLinear::new(cast(&decoder.head.weight().values().unwrap()), None);
            for block in &mut decoder.blocks {
                for &linear in Linear::of(&config) {
                    let old = block.linear(linear);
                    let new = FrozenLinear::new(cast(&old.weight().values().unwrap()), old.bias().cloned());
                    block.set_linear(linear, new);
                }
            }
            decoder
        };
        let (stored, widened) = (as_type(&[DType::BF16]), as_type(&[DType::BF16, DType::F32]));
        assert!(stored.bytes() < widened.bytes() && stored.parameters() == widened.parameters(), "{name}");
        let ids = tokens(9);
        let logits = |decoder: &Decoder| {
            let hidden = decoder.forward(&Batch::packed([ids.as_slice()]), None, None).unwrap();
            decoder.logits(&hidden, None).unwrap()
        };
        // Where bf16 values are multiplied, what goes into a layer is rounded to such.
        let near = if Machine::here().values() == Values::Bf16 { 0.1 } else { 0.0 };
        let distance = distance(&logits(&stored), &logits(&widened));
        assert!(distance <= near, "{name}: {distance}");
    }
}

/// Sequences of several lengths, with adapters of their own or none: a token of each in one pass has the bits that it has alone.
#[test]
fn rows_of_a_pass_have_the_bits_that_they_have_alone() {
    for (name, config) in families() {
        let decoder = decoder_of(config, 5);
        let (blocks, everywhere) =
            (fixtures::adapter(&decoder, 3), fixtures::adapter_everywhere(&decoder, 2));
        let groups = [
            Group { rows: 2, adapter: Some(&blocks) },
            Group { rows: 1, adapter: None },
            Group { rows: 2, adapter: Some(&everywhere) },
        ];
        let adapters: Vec<Option<&Adapter>> =
            groups.iter().flat_map(|group| std::iter::repeat_n(group.adapter, group.rows)).collect();
        let lengths = [3, 9, 1, 4, 6];
        let read = || -> Vec<KvCache> {
            let caches = lengths.iter().zip(&adapters).map(|(length, adapter)| {
                let mut cache = KvCache::default();
                let batch = Batch::continuation(&tokens(*length), 0);
                decoder.forward(&batch, *adapter, Some(&mut cache)).unwrap();
                cache
            });
            caches.collect()
        };
        let (mut together, mut alone) = (read(), read());
        for step in 0..4u32 {
            let next: Vec<(u32, usize)> =
                together.iter().map(|cache| ((step * 5 + 2) % 24, cache.len())).collect();
            let batch = Batch::next_of_each(next.iter().copied());
            let mut caches: Vec<&mut KvCache> = together.iter_mut().collect();
            let hidden = decoder.forward_together(&batch, &groups, &mut caches).unwrap();
            let logits = decoder.logits_together(&hidden, &groups).unwrap();
            for (row, ((token, past), cache)) in next.iter().zip(&mut alone).enumerate() {
                let batch = Batch::continuation(&[*token], *past);
                let own = decoder.forward(&batch, adapters[row], Some(cache)).unwrap();
                assert_eq!(flat(&hidden.get(row).unwrap()), flat(&own), "{name}, row {row}");
                let own = decoder.logits(&own, adapters[row]).unwrap();
                assert_eq!(flat(&logits.get(row).unwrap()), flat(&own), "{name}, row {row}");
                assert_eq!(cache.len(), together[row].len());
            }
        }
        let mut one = KvCache::default();
        let two = Batch::next_of_each([(1, 0), (2, 0)]);
        assert!(decoder.forward_together(&two, &groups[..1], &mut [&mut one]).is_err());
    }
}
