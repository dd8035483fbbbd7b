use std::collections::HashMap;

use candle_core::{DType, Tensor};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::fixtures;
use crate::lora::{Dora, LayerAdapter, Linear, Lora, LoraSpec, Place};

fn base() -> BaseSpec {
    BaseSpec::for_tests(fixtures::config())
}

/// All pairs random, rank 2, alpha 3.
fn adapter() -> Adapter {
    let config = fixtures::config();
    let spec = LoraSpec { rank: 2, alpha: 3.0, ..LoraSpec::default() };
    let mut adapter = Adapter::fresh(&config, &spec, 1, &Device::Cpu).unwrap();
    let other = Adapter::fresh(&config, &spec, 2, &Device::Cpu).unwrap();
    for (index, (place, pair)) in other.pairs().enumerate() {
        let b = pair.b.ones_like().unwrap().affine(0.25, index as f64 / 8.0).unwrap();
        adapter.set(place, pair.with_factors(pair.a.clone(), b));
    }
    adapter
}

fn saved(adapter: &Adapter) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), adapter, &base(), &[]).unwrap();
    folder
}

fn settings(folder: &TempDir) -> Value {
    serde_json::from_slice(&fs::read(folder.path().join(CONFIG_FILE)).unwrap()).unwrap()
}

fn set(folder: &TempDir, key: &str, value: Value) {
    let mut settings = settings(folder);
    settings[key] = value;
    fs::write(folder.path().join(CONFIG_FILE), settings.to_string()).unwrap();
}

fn loaded(folder: &TempDir) -> Result<Adapter, AdapterError> {
    load(folder.path(), &base(), &Device::Cpu)
}

fn fuzz_file(name: &str, file: &str, words: &[&str]) {
    let own = saved(&adapter());
    let folder = crate::fuzz::folder();
    for name in [CONFIG_FILE, WEIGHTS_FILE, OWN_FILE] {
        fs::copy(own.path().join(name), folder.path().join(name)).unwrap();
    }
    let base = base();
    load(folder.path(), &base, &Device::Cpu).unwrap();
    let whole = fs::read(own.path().join(file)).unwrap();
    let words = [hotplate_fuzz::JSON, words].concat();
    hotplate_fuzz::fuzz(name, &[&whole], &words, |bytes| {
        fs::write(folder.path().join(file), bytes).unwrap();
        let _ = load(folder.path(), &base, &Device::Cpu);
        let _ = Snapshot::read(folder.path());
    });
}

#[test]
fn fuzz_adapter_config() {
    let words = [
        "\"target_modules\": \"all-linear\"",
        "\"target_modules\": \".*q_proj\"",
        "\"rank_pattern\": {\"^a\": 2}",
        "\"alpha_pattern\": {",
        "\"layers_to_transform\": [0]",
        "\"layers_pattern\": \"layers\"",
        "\"exclude_modules\": ",
        "\"use_dora\": true",
        "\"use_rslora\": true",
        "\"modules_to_save\": ",
        "\"init_lora_weights\": \"pissa\"",
        "\"bias\": \"all\"",
        "\"peft_type\": \"LOHA\"",
        "(?<=a)",
        "(a|b)*",
    ];
    fuzz_file("adapter-config", CONFIG_FILE, &words);
}

#[test]
fn fuzz_adapter_weights() {
    fuzz_file(
        "adapter-weights",
        WEIGHTS_FILE,
        &["\"dtype\": \"F16\"", "\"shape\": [", "lora_A", "lora_magnitude_vector"],
    );
}

#[test]
fn fuzz_own_file() {
    fuzz_file("own-file", OWN_FILE, &["\"goldens\": [", "\"prompt\": [", "\"eos\": "]);
}

fn values(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

fn assert_same(one: &Adapter, two: &Adapter) {
    assert_eq!((one.rank, one.alpha, one.layers.len()), (two.rank, two.alpha, two.layers.len()));
    assert_eq!(one.pairs().count(), two.pairs().count());
    for ((place, a), (other, b)) in one.pairs().zip(two.pairs()) {
        assert_eq!(place, other);
        let magnitude = |pair: &Lora| pair.dora.as_ref().map(|dora| values(dora.magnitude()));
        assert_eq!(magnitude(a), magnitude(b));
        assert_eq!(
            (values(&a.a), values(&a.b), a.scale.to_bits()),
            (values(&b.a), values(&b.b), b.scale.to_bits())
        );
    }
}

/// Rewrites the tensors: `change` gets name, shape and values of each and may add, drop or alter them.
fn rewrite(folder: &TempDir, change: impl Fn(&mut Vec<(String, Vec<usize>, Vec<f32>)>)) {
    let file = folder.path().join(WEIGHTS_FILE);
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    let mut parts: Vec<_> = tensors
        .into_iter()
        .map(|(name, tensor)| {
            (name, tensor.dims().to_vec(), tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        })
        .collect();
    parts.sort_by(|one, two| one.0.cmp(&two.0));
    change(&mut parts);
    let bytes: Vec<_> = parts
        .into_iter()
        .map(|(name, shape, values)| {
            (name, shape, values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn what_is_saved_is_loaded_with_the_same_bits() {
    assert_same(&loaded(&saved(&adapter())).unwrap(), &adapter());
}

#[test]
fn the_files_are_those_of_peft() {
    let folder = saved(&adapter());
    let text = fs::read_to_string(folder.path().join(CONFIG_FILE)).unwrap();
    expect_test::expect![[r#"
        {
          "alpha_pattern": {},
          "auto_mapping": null,
          "base_model_name_or_path": "test",
          "bias": "none",
          "fan_in_fan_out": false,
          "inference_mode": true,
          "init_lora_weights": true,
          "layers_pattern": null,
          "layers_to_transform": null,
          "lora_alpha": 3,
          "lora_dropout": 0.0,
          "modules_to_save": null,
          "peft_type": "LORA",
          "r": 2,
          "rank_pattern": {},
          "revision": null,
          "target_modules": [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj"
          ],
          "task_type": "CAUSAL_LM"
        }"#]]
    .assert_eq(&text);
    let tensors = candle_core::safetensors::load(folder.path().join(WEIGHTS_FILE), &Device::Cpu).unwrap();
    assert_eq!(tensors.len(), 2 * 7 * 2);
    let shape = |name: &str| tensors[name].dims().to_vec();
    assert_eq!(shape("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"), [2, 16]);
    assert_eq!(shape("base_model.model.model.layers.0.mlp.down_proj.lora_B.weight"), [16, 2]);
    assert!(tensors.values().all(|tensor| tensor.dtype() == DType::F32));
    let bytes = fs::read(folder.path().join(WEIGHTS_FILE)).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata(), &Some(HashMap::from([("format".to_owned(), "pt".to_owned())])));
    let own: Snapshot = serde_json::from_slice(&fs::read(folder.path().join(OWN_FILE)).unwrap()).unwrap();
    assert_eq!((own.base.as_str(), own.eos_token_ids.as_slice()), ("test", &[2][..]));
}

#[test]
fn saving_twice_gives_the_same_bytes_and_never_overwrites() {
    let (one, two) = (saved(&adapter()), saved(&adapter()));
    for file in [CONFIG_FILE, WEIGHTS_FILE, OWN_FILE] {
        assert_eq!(fs::read(one.path().join(file)).unwrap(), fs::read(two.path().join(file)).unwrap());
    }
    let error = save(one.path(), &adapter(), &base(), &[]).unwrap_err();
    assert!(matches!(error, AdapterError::NotEmpty { .. }), "{error}");
}

#[test]
fn the_base_is_named_by_its_hub_id() {
    let folder = tempfile::tempdir().unwrap();
    let base = BaseSpec { hub_id: Some("org/model".to_owned()), ..base() };
    save(folder.path(), &adapter(), &base, &[]).unwrap();
    assert_eq!(settings(&folder)["base_model_name_or_path"], "org/model");
}

#[test]
fn other_ranks_scales_and_gaps_survive() {
    let mut uneven = adapter();
    let ones = |shape| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
    let pair = |rank: usize, scale: f64| Lora::plain(ones((rank, 16)), ones((24, rank)), scale);
    uneven.layers[0].set(Linear::Query, pair(5, 0.1));
    uneven.layers[1].set(Linear::Query, pair(3, 3.0 / 3.0));
    let mut gap = LayerAdapter::default();
    for linear in [Linear::Query, Linear::Up] {
        gap.set(linear, uneven.layers[1].get(linear).unwrap().clone());
    }
    uneven.layers[1] = gap;
    let folder = saved(&uneven);
    let written = settings(&folder);
    assert_eq!(
        written["rank_pattern"],
        json!({"model.layers.0.self_attn.q_proj": 5, "model.layers.1.self_attn.q_proj": 3})
    );
    assert_eq!(written["alpha_pattern"], json!({"model.layers.0.self_attn.q_proj": 0.5}));
    assert_same(&loaded(&folder).unwrap(), &uneven);
}

#[test]
fn rs_lora_divides_by_the_root() {
    let folder = saved(&adapter());
    set(&folder, "use_rslora", json!(true));
    let adapter = loaded(&folder).unwrap();
    assert!(adapter.pairs().all(|(_, pair)| pair.scale.to_bits() == (3.0 / 2.0_f64.sqrt()).to_bits()));
    let again = saved(&adapter);
    assert_eq!(settings(&again)["use_rslora"], true);
    assert_same(&loaded(&again).unwrap(), &adapter);
}

#[test]
fn patterns_mean_what_peft_means() {
    let folder = saved(&adapter());
    let scales = |patterns: Value| {
        set(&folder, "alpha_pattern", patterns);
        let adapter = loaded(&folder).unwrap();
        let scale = |layer: usize, linear| adapter.layers[layer].get(linear).unwrap().scale;
        [scale(0, Linear::Query), scale(1, Linear::Query), scale(1, Linear::Up)]
            .map(|scale| scale.to_string())
    };
    assert_eq!(scales(json!({"q_proj": 8})), ["4", "4", "1.5"]);
    // The end of a name, from a dot on: "proj" alone is the end of none.
    assert_eq!(scales(json!({"proj": 8})), ["1.5"; 3]);
    assert_eq!(scales(json!({r"layers\.1\..*": 8})), ["1.5", "4", "4"]);
    assert_eq!(scales(json!({"^model.layers.0.self_attn.q_proj": 8})), ["4", "1.5", "1.5"]);
    assert_eq!(scales(json!({"q_proj|up_proj": 8})), ["4"; 3]);
    assert_eq!(
        scales(json!({"0.self_attn.q_proj": 6, "q_proj": 8})),
        ["3", "4", "1.5"],
        "the first match counts"
    );
    assert_eq!(scales(json!({"(?!q)[a-z]+_proj": 8})), ["1.5", "1.5", "4"], "looks around as Python does");
    set(&folder, "alpha_pattern", json!({"q(": 8}));
    assert!(loaded(&folder).unwrap_err().to_string().contains("alpha_pattern"));
}

#[test]
fn what_would_be_computed_wrongly_is_refused_by_name() {
    for (key, value) in [
        ("peft_type", json!("LOHA")),
        ("peft_type", json!(null)),
        ("bias", json!("all")),
        ("lora_bias", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("layer_replication", json!([[0, 2]])),
        ("trainable_token_indices", json!([5])),
        ("use_qalora", json!(true)),
        ("alora_invocation_tokens", json!([1])),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("olora")),
        ("init_lora_weights", json!("loftq")),
        ("init_lora_weights", json!("some_later_idea")),
        ("some_later_idea", json!({"strength": 3})),
        ("r", json!(0)),
        ("r", json!("two")),
        ("r", json!(3)),
        ("r", json!(1_u64 << 60)),
        ("lora_alpha", json!("big")),
        ("target_modules", json!(["q_proj", "c_attn"])),
        ("target_modules", json!(5)),
        ("rank_pattern", json!({"q_proj": -1})),
    ] {
        let folder = saved(&adapter());
        set(&folder, key, value.clone());
        let error = loaded(&folder).expect_err(key).to_string();
        let named = if key == "r" { "r " } else { key };
        assert!(error.contains(named), "{key} {value}: {error}");
        assert!(error.contains("adapter_"), "names the file: {error}");
    }
    for (key, value) in [
        ("target_modules", json!("all-linear")),
        ("target_modules", json!(null)),
        ("init_lora_weights", json!("gaussian")),
        ("lora_dropout", json!(0.1)),
        ("peft_version", json!("9.9.9")),
        ("megatron_core", json!("megatron.core")),
        ("velora_config", json!({"num_groups": 4, "scale": 1.0, "init_type": "batch_average"})),
        ("monteclora_config", json!({"num_samples": 8, "buffer_size": 150})),
        // PEFT, too, takes no notice of a name that matches nothing.
        ("target_parameters", json!(["experts"])),
        ("some_later_idea", json!(null)),
    ] {
        let folder = saved(&adapter());
        set(&folder, key, value);
        loaded(&folder).expect(key);
    }
}

#[test]
fn what_only_training_reads_is_left_alone() {
    let folder = saved(&adapter());
    rewrite(&folder, |parts| {
        let module = "base_model.model.model.layers.0.self_attn.q_proj";
        for name in ["lora_velora_embed", "lora_monteclora_sampler.std_prior"] {
            parts.push((format!("{module}.{name}"), vec![3], vec![f32::NAN; 3]));
        }
    });
    assert_same(&loaded(&folder).unwrap(), &adapter());
}

#[test]
fn a_weight_may_be_adapted_by_its_own_name() {
    // As PEFT writes it: no layers and no exclusions count, and patterns match the weight's name.
    let folder = saved(&adapter());
    let names: Vec<String> = settings(&folder)["target_modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| format!("{}.weight", name.as_str().unwrap()))
        .collect();
    for modules in [json!([]), json!(null)] {
        set(&folder, "target_modules", modules);
        set(&folder, "target_parameters", json!(names));
        set(&folder, "layers_to_transform", json!([1]));
        set(&folder, "exclude_modules", json!(["q_proj"]));
        set(&folder, "rank_pattern", json!({"q_proj": 7}));
        assert_same(&loaded(&folder).unwrap(), &adapter());
    }
    set(&folder, "alpha_pattern", json!({"q_proj.weight": 9}));
    let found = loaded(&folder).unwrap();
    let scale = |linear| found.get(Place::Block(1, linear)).unwrap().scale;
    assert_eq!((scale(Linear::Query), scale(Linear::Key)), (4.5, 1.5));
    set(&folder, "target_parameters", json!(names[1..]));
    assert!(loaded(&folder).unwrap_err().to_string().contains("q_proj"));
    set(&folder, "target_parameters", json!("q_proj.weight"));
    assert!(loaded(&folder).unwrap_err().to_string().contains("target_parameters must be a list"));
}

#[test]
fn an_embedding_adapted_by_its_weights_name_is_turned() {
    let folder = saved(&adapter());
    let listed = settings(&folder)["target_modules"].clone();
    set(&folder, "target_parameters", json!(["embed_tokens.weight"]));
    set(&folder, "target_modules", listed);
    let (vocab, hidden) = (fixtures::config().vocab, fixtures::config().hidden);
    rewrite(&folder, |parts| {
        for (factor, shape) in [("A", [2, hidden]), ("B", [vocab, 2])] {
            let values = (0..shape[0] * shape[1]).map(|at| at as f32).collect();
            let name = format!("base_model.model.model.embed_tokens.lora_{factor}.weight");
            parts.push((name, shape.to_vec(), values));
        }
    });
    let found = loaded(&folder).unwrap();
    let pair = found.embedding.as_ref().unwrap();
    assert_eq!((pair.a.dims(), pair.b.dims()), ([2, vocab].as_slice(), [hidden, 2].as_slice()));
    // The rows of the file's B are tokens.
    assert_eq!(pair.a.get(0).unwrap().get(3).unwrap().to_scalar::<f32>().unwrap().to_bits(), 6f32.to_bits());
    assert!(found.head.is_none());
}

#[test]
fn a_rank_pattern_that_lost_its_order_is_named() {
    let folder = saved(&adapter());
    // Made as q_proj: 2 first, which counts for both layers; sorted, the other key comes first.
    set(&folder, "rank_pattern", json!({"0.self_attn.q_proj": 4, "q_proj": 2}));
    let error = loaded(&folder).unwrap_err();
    assert!(matches!(error, AdapterError::BadConfig { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("rank_pattern lost its order") && !said.contains("copy it again"), "{said}");
    assert!(said.ends_with(r#"put "q_proj" before "0.self_attn.q_proj""#), "{said}");
    set(&folder, "alpha_pattern", json!({"0.self_attn.q_proj": 4, "q_proj": 3}));
    assert!(loaded(&folder).unwrap_err().to_string().ends_with("alpha_pattern likewise"));
    set(&folder, "alpha_pattern", json!({}));
    set(&folder, "rank_pattern", json!({"q_proj": 2, "0.self_attn.q_proj": 4}));
    assert_same(&loaded(&folder).unwrap(), &adapter());
    // No order gives this rank.
    set(&folder, "rank_pattern", json!({"0.self_attn.q_proj": 4, "q_proj": 3}));
    assert!(matches!(loaded(&folder).unwrap_err(), AdapterError::Corrupt { .. }));
}

#[test]
fn a_shallower_adapter_is_another_bases_and_not_damaged() {
    let folder = saved(&adapter());
    fs::remove_file(folder.path().join(OWN_FILE)).unwrap();
    let deeper = |change: fn(&mut crate::config::DecoderConfig)| {
        let mut config = fixtures::config();
        config.layers += 3;
        config.attention = vec![config.attention[0]; config.layers];
        change(&mut config);
        let error = load(folder.path(), &BaseSpec { config, ..base() }, &Device::Cpu).unwrap_err();
        assert!(matches!(error, AdapterError::OtherBase { .. }), "{error}");
        error.to_string()
    };
    let said = deeper(|_| {});
    assert!(said.contains("adapts 2 layers, and the base has 5") && said.contains("--base"), "{said}");
    assert!(deeper(|config| config.hidden = 20).contains("shape"));
    // Without a module of a layer that it does adapt, it is damaged.
    rewrite(&folder, |parts| parts.retain(|part| !part.0.contains("layers.0.self_attn.k_proj")));
    assert!(matches!(loaded(&folder).unwrap_err(), AdapterError::Corrupt { .. }));
}

#[test]
fn unknown_and_broken_tensors_are_refused_by_name() {
    const NAME: &str = "base_model.model.model.layers.0.self_attn.q_proj";
    type Change = fn(&mut Vec<(String, Vec<usize>, Vec<f32>)>);
    let changes: [(&str, Change); 10] = [
        ("DoRA", |parts| parts.push((format!("{NAME}.lora_magnitude_vector"), vec![1], vec![1.0]))),
        ("embed_tokens", |parts| {
            for (factor, shape) in [("A", [2, 24]), ("B", [16, 2])] {
                let name = format!("base_model.model.model.embed_tokens.lora_embedding_{factor}");
                parts.push((name, shape.to_vec(), vec![1.0; shape[0] * shape[1]]));
            }
        }),
        ("bias", |parts| parts.push((format!("{NAME}.lora_B.bias"), vec![1], vec![1.0]))),
        ("lm_head", |parts| parts.push(("base_model.model.lm_head.weight".to_owned(), vec![1], vec![1.0]))),
        ("prefix", |parts| parts[0].0 = parts[0].0.replace("model.model.model", "model.model")),
        ("layers.7", |parts| parts[0].0 = parts[0].0.replace("layers.0", "layers.7")),
        ("lora_B", |parts| parts.retain(|part| !part.0.ends_with("q_proj.lora_B.weight"))),
        ("k_proj", |parts| parts.retain(|part| !part.0.contains("layers.1.self_attn.k_proj"))),
        ("not finite", |parts| parts[0].2[0] = f32::NAN),
        ("no LoRA tensors", Vec::clear),
    ];
    for (named, change) in changes {
        let folder = saved(&adapter());
        rewrite(&folder, change);
        let error = loaded(&folder).expect_err(named).to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn an_adapter_of_another_base_is_told_by_shape_or_fingerprint() {
    let folder = saved(&adapter());
    let twin = BaseSpec { fingerprint: "other".to_owned(), name: "twin".to_owned(), ..base() };
    let error = load(folder.path(), &twin, &Device::Cpu).unwrap_err();
    assert!(matches!(&error, AdapterError::OtherBase { base, .. } if base == "twin"), "{error}");

    let mut config = fixtures::config();
    config.hidden = 20;
    let wider = BaseSpec { config, ..base() };
    let error = load(folder.path(), &wider, &Device::Cpu).unwrap_err();
    assert!(matches!(error, AdapterError::OtherBase { .. }), "{error}");
    // Without our own file, as from elsewhere: the shapes still tell.
    fs::remove_file(folder.path().join(OWN_FILE)).unwrap();
    load(folder.path(), &twin, &Device::Cpu).unwrap();
    let error = load(folder.path(), &wider, &Device::Cpu).unwrap_err();
    assert!(matches!(error, AdapterError::OtherBase { .. }), "{error}");
}

#[test]
fn missing_and_truncated_files_are_errors() {
    let error = load(Path::new("no/such"), &base(), &Device::Cpu).unwrap_err();
    assert!(matches!(error, AdapterError::Missing { .. }), "{error}");
    for file in [CONFIG_FILE, WEIGHTS_FILE] {
        let folder = saved(&adapter());
        fs::remove_file(folder.path().join(file)).unwrap();
        let error = loaded(&folder).unwrap_err();
        assert!(
            matches!(&error, AdapterError::Missing { file: missing } if missing.ends_with(file)),
            "{error}"
        );
    }
    for file in [CONFIG_FILE, WEIGHTS_FILE, OWN_FILE] {
        let folder = saved(&adapter());
        let whole = fs::read(folder.path().join(file)).unwrap();
        for length in [0, 1, 9, whole.len() / 2, whole.len() - 1] {
            fs::remove_file(folder.path().join(file)).unwrap();
            fs::write(folder.path().join(file), &whole[..length]).unwrap();
            let error = loaded(&folder).unwrap_err();
            let damaged = matches!(error, AdapterError::Corrupt { .. } | AdapterError::BadConfig { .. });
            assert!(damaged && error.to_string().contains(file), "{file} {length}: {error}");
        }
    }
}

/// Random factors on the embedding and the head too.
fn everywhere() -> Adapter {
    let decoder = fixtures::decoder(1);
    Adapter { alpha: 2.0, rank: 2, ..fixtures::adapter_everywhere(&decoder, 2) }
}

#[test]
fn embedding_and_head_have_names_of_their_own() {
    let folder = saved(&everywhere());
    let tensors = candle_core::safetensors::load(folder.path().join(WEIGHTS_FILE), &Device::Cpu).unwrap();
    let shape = |name: &str| tensors[name].dims().to_vec();
    assert_eq!(shape("base_model.model.model.embed_tokens.lora_embedding_A"), [2, 24]);
    assert_eq!(shape("base_model.model.model.embed_tokens.lora_embedding_B"), [16, 2]);
    assert_eq!(shape("base_model.model.lm_head.lora_A.weight"), [2, 16]);
    assert_same(&loaded(&folder).unwrap(), &everywhere());
}

#[test]
fn a_tied_head_follows_the_embedding_only_when_the_settings_say_so() {
    let adapter = Adapter { head: None, ..everywhere() };
    let folder = saved(&adapter);
    assert!(loaded(&folder).unwrap().head.is_none());
    set(&folder, "ensure_weight_tying", json!(true));
    let tied = loaded(&folder).unwrap();
    let (embedding, head) = (tied.embedding.unwrap(), tied.head.unwrap());
    assert_eq!(values(&head.a), values(&embedding.b.t().unwrap().contiguous().unwrap()));
    assert_eq!(values(&head.b), values(&embedding.a.t().unwrap().contiguous().unwrap()));
}

#[test]
fn dora_brings_a_magnitude_for_each_output() {
    let mut dora = adapter();
    let pairs: Vec<(Place, Lora)> = dora.pairs().map(|(place, pair)| (place, pair.clone())).collect();
    for (place, pair) in pairs {
        let (outputs, _) = place.shape(&fixtures::config());
        let magnitude = Tensor::full(1.5f32, outputs, &Device::Cpu).unwrap();
        dora.set(place, pair.with_dora(Some(Dora::new(magnitude))));
    }
    let folder = saved(&dora);
    assert_eq!(settings(&folder)["use_dora"], true);
    let again = loaded(&folder).unwrap();
    assert!(again.is_dora());
    assert_same(&again, &dora);
    set(&folder, "use_dora", json!(false));
    assert!(loaded(&folder).unwrap_err().to_string().contains("DoRA"));
    let plain = saved(&adapter());
    set(&plain, "use_dora", json!(true));
    assert!(loaded(&plain).unwrap_err().to_string().contains("lora_magnitude_vector"));
}

#[test]
fn settings_that_restrict_are_honoured() {
    let mut some = adapter();
    some.layers[0] = LayerAdapter::default();
    let folder = saved(&some);
    set(
        &folder,
        "target_modules",
        json!(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    );
    let error = loaded(&folder).unwrap_err().to_string();
    assert!(error.contains("model.layers.0.self_attn.q_proj"), "{error}");
    for (key, value) in [("layers_to_transform", json!([1])), ("layers_to_transform", json!(1))] {
        set(&folder, key, value);
        assert_same(&loaded(&folder).unwrap(), &some);
    }
    set(&folder, "layers_pattern", json!(["layers"]));
    assert_same(&loaded(&folder).unwrap(), &some);
    set(&folder, "layers_pattern", json!("h"));
    loaded(&folder).unwrap_err();
    set(&folder, "layers_to_transform", json!(null));
    set(&folder, "exclude_modules", json!(r"model\.layers\.0\..*"));
    assert_same(&loaded(&folder).unwrap(), &some);
    set(&folder, "exclude_modules", json!(["q_proj"]));
    let error = loaded(&folder).unwrap_err().to_string();
    assert!(error.contains("does not choose") || error.contains("no tensors"), "{error}");
    set(&folder, "exclude_modules", json!(null));
    set(&folder, "target_modules", json!(r".*\.1\.(self_attn|mlp)\..*_proj"));
    assert_same(&loaded(&folder).unwrap(), &some);
}

#[test]
fn half_precision_factors_are_read() {
    let folder = saved(&adapter());
    let file = folder.path().join(WEIGHTS_FILE);
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    for kind in [DType::F16, DType::BF16] {
        let half: HashMap<String, Tensor> =
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.to_dtype(kind).unwrap())).collect();
        candle_core::safetensors::save(&half, &file).unwrap();
        let found = loaded(&folder).unwrap();
        let pair = found.get(Place::Block(0, Linear::Query)).unwrap();
        let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
        assert_eq!(values(&pair.a), values(&half[name].to_dtype(DType::F32).unwrap()));
    }
}
