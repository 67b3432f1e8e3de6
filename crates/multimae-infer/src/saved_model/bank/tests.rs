//! Adapters together and alone, and the memory that they share.

use std::path::PathBuf;

use multimae::burn::tensor::Tensor;
use multimae::nn::LoraConfig;
use multimae::output_adapters::Prediction;
use multimae::peft::PeftConfig;
use multimae::state::{StateDict, state_dict, update};
use multimae::tuning::{ParameterKind, Tuning};
use multimae::weights::write_safetensors;
use multimae_data::{Sample, Values, stream};

use super::super::Backbone;
use super::super::tests::{card, samples};
use super::*;

fn device() -> Device {
    Device::default()
}

fn peft(text: serde_json::Value) -> PeftConfig {
    serde_json::from_value(text).unwrap()
}

/// A tuned model whose backbone is drawn with `seed` and whose other parameters are far from
/// where they begin.
fn tuned(peft: &PeftConfig, seed: u64, own: u64) -> SavedModel {
    let mut card = card();
    card.peft = peft.clone();
    let model = PeftModel::new(&card.model, &card.peft, &device()).unwrap();
    let model = multimae::init::initialise(model, |name| match ParameterKind::of(name) {
        ParameterKind::Backbone => stream(seed, name, 0, 0),
        _ => stream(own, name, 0, 0),
    });
    let model = update(model, |name, value| {
        let [len] = value.dims();
        let shift: Vec<f32> = (0..len).map(|i| ((i as f32) + own as f32).sin() * 0.2).collect();
        ParameterKind::of(name)
            .is_peft()
            .then(|| value.clone() + Tensor::from_floats(shift.as_slice(), &value.device()))
    });
    SavedModel { model, card, notes: IndexMap::new(), precision: Precision::Fp32 }
}

/// The same with other values where the mode trains the backbone.
fn trained(saved: &SavedModel, tuning: &str) -> SavedModel {
    let (tuning, depth): (Tuning, _) = (tuning.parse().unwrap(), saved.card.model.encoder.depth);
    let model = update(saved.model.clone(), |name, value| {
        let own = ParameterKind::of(name) == ParameterKind::Backbone
            && tuning.trains(name, depth)
            && !name.contains("pos_emb");
        own.then(|| value * 1.1 + 0.01)
    });
    SavedModel { model, ..saved.clone() }
}

/// Two deep prompts.
fn deep() -> PeftConfig {
    peft(serde_json::json!({"prompts": {"kind": "deep", "count": 2}}))
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A bank with an adapter `a` of deep prompts, and its file.
    fn deep_bank(&self) -> (AdapterBank, PathBuf) {
        let backbone = self.backbone("backbone", &tuned(&PeftConfig::default(), 1, 0));
        let path = self.adapter("a", &tuned(&deep(), 1, 5), "prompts");
        let mut bank = AdapterBank::new(&backbone, device());
        bank.add("a", &path).unwrap();
        (bank, path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.safetensors"))
    }

    fn backbone(&self, name: &str, saved: &SavedModel) -> PathBuf {
        let mut weights: StateDict = state_dict(&saved.model);
        weights.retain(|name, _| ParameterKind::of(name) == ParameterKind::Backbone);
        let bytes = write_safetensors(&weights, &IndexMap::new()).unwrap();
        fs_err::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn adapter(&self, name: &str, saved: &SavedModel, tuning: &str) -> PathBuf {
        let backbone = Backbone::of(&saved.model, &[]);
        let adapter = Adapter::of(&trained(saved, tuning), &tuning.parse().unwrap(), backbone);
        adapter.save(&self.path(name)).unwrap();
        self.path(name)
    }
}

/// Samples that differ.
fn frames(count: usize) -> Vec<Sample> {
    let sample = |index: usize| {
        let mut sample = samples().remove(0);
        sample.id = index.to_string();
        for map in sample.maps.values_mut() {
            let Values::Continuous { data, .. } = &mut map.values else { panic!() };
            data.iter_mut().enumerate().for_each(|(i, v)| *v += ((i * (index + 1)) as f32).sin());
        }
        sample
    };
    (0..count).map(sample).collect()
}

fn values(output: &IndexMap<String, Prediction>) -> Vec<f32> {
    let one = |output: &Prediction| match output.clone() {
        Prediction::Maps(maps) => maps.into_data().iter::<f32>().collect::<Vec<f32>>(),
        Prediction::Classes(logits) => logits.into_data().iter().collect(),
    };
    output.values().flat_map(one).collect()
}

#[test]
fn adapters_together_give_what_each_gives_alone() {
    let files = Files::new();
    let deep = deep();
    let prefix = peft(serde_json::json!({"prompts": {"kind": "prefix", "count": 3}}));
    let branched = PeftConfig { branch_at: Some(1), ..deep.clone() };
    let lora = PeftConfig { lora: Some(LoraConfig::default()), ..PeftConfig::default() };
    let norms = PeftConfig { entry_norms: true, ..PeftConfig::default() };
    let pool = peft(serde_json::json!({"prompts": {
        "kind": "l2p", "entries": 4, "length": 2, "top_n": 2,
    }}));
    let kinds = [
        ("a", &deep, "prompts"),
        ("b", &deep, "prompts"),
        ("c", &prefix, "prompts"),
        ("d", &branched, "prompts"),
        ("e", &branched, "prompts"),
        ("f", &lora, "lora"),
        ("g", &norms, "head"),
        ("h", &PeftConfig::default(), "norm"),
        ("i", &PeftConfig::default(), "bias"),
        ("j", &PeftConfig::default(), "full"),
        ("p", &pool, "prompts"),
    ];
    let backbone = files.backbone("backbone", &tuned(&PeftConfig::default(), 1, 0));
    let mut bank = AdapterBank::new(&backbone, device());
    for (index, (name, peft, tuning)) in kinds.iter().enumerate() {
        let saved = tuned(peft, 1, 10 + index as u64);
        bank.add(name, &files.adapter(name, &saved, tuning)).unwrap();
    }
    let names = ["a", "b", "f", "a", "c", "d", "e", "g", "h", "b", "d", "i", "j", "i", "p"];
    let mut batch: Vec<(&str, Sample)> = names.into_iter().zip(frames(15)).collect();
    // One is of another size.
    let map = &mut batch[3].1.maps["rgb"];
    (map.height, map.width) = (map.width, map.height);
    // All but those with other weights: prompts of any kind, low rank, norms, heads alone.
    let passes: Vec<Vec<&str>> = (bank.passes(&batch).unwrap().iter())
        .map(|pass| pass.iter().map(|(_, places)| batch[places[0]].0).collect())
        .collect();
    assert_eq!(
        passes,
        [vec!["a", "b", "f", "a", "c", "d", "e", "g", "h", "p"], vec!["i"], vec!["j"]]
    );
    let together = bank.predict(&batch).unwrap();
    assert_eq!(together.len(), batch.len());
    for ((name, sample), together) in batch.iter().zip(&together) {
        let index = kinds.iter().position(|(kind, ..)| kind == name).unwrap();
        let (_, peft, tuning) = kinds[index];
        let saved = trained(&tuned(peft, 1, 10 + index as u64), tuning);
        let inputs = saved.card.inputs(std::slice::from_ref(sample), &device()).unwrap();
        let alone = values(&saved.predict(inputs).unwrap());
        let worst =
            alone.iter().zip(values(together)).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        assert!(worst < 1e-5, "{name}: {worst}");
    }
    assert!(bank.remove("a") && !bank.remove("a"));
    let error = bank.predict(&batch).unwrap_err().to_string();
    assert!(error.contains("no adapter `a`"), "{error}");
}

#[test]
fn an_adapter_that_does_not_belong_here_is_refused() {
    let files = Files::new();
    let deep = deep();
    let backbone = files.backbone("backbone", &tuned(&PeftConfig::default(), 1, 0));
    let other = files.backbone("other", &tuned(&PeftConfig::default(), 2, 0));
    let saved = tuned(&deep, 1, 3);
    let path = files.adapter("adapter", &saved, "prompts");
    let mut bank = AdapterBank::new(&other, device());
    let error = bank.add("a", &path).unwrap_err().to_string();
    assert!(error.contains("not the backbone of this adapter"), "{error}");
    assert_eq!(bank.names().count(), 0);
    let mut bank = AdapterBank::new(&backbone, device());
    bank.add("a", &path).unwrap();
    // Without a head, with another number of classes, with another prompt.
    let refused = |change: &dyn Fn(&mut Adapter)| {
        let mut adapter = Adapter::load(&path).unwrap();
        change(&mut adapter);
        adapter.save(&files.path("broken")).unwrap();
        Adapter::load(&files.path("broken")).unwrap_err().to_string()
    };
    let error = refused(&|adapter| {
        adapter.tensors.retain(|name, _| !name.starts_with("output_adapters.semseg."));
    });
    assert!(error.contains("missing `output_adapters.semseg."), "{error}");
    let error = refused(&|adapter| {
        let task = adapter.card.tasks.get_mut("semseg").unwrap();
        let classes = task.task.classes()[..1].to_vec();
        let labels = multimae_tasks::kinds::labels::Labels {
            classes,
            ignore: 255,
            offset: 0,
            values: Vec::new(),
        };
        *task = multimae_tasks::TaskCard::new(labels, None);
    });
    assert!(error.contains("needs 1 to 2 outputs"), "{error}");
    let error = refused(&|adapter| {
        adapter.tensors.shift_remove("prompts.tokens");
    });
    assert!(error.contains("missing `prompts.tokens`"), "{error}");
    let error = refused(&|adapter| {
        let data = adapter.tensors["prompts.tokens"].clone();
        adapter.tensors.insert("prompts.gate".to_owned(), data);
    });
    assert!(error.contains("unexpected `prompts.gate`"), "{error}");
    let model = SavedModel::load(&path, &device()).unwrap_err().to_string();
    assert!(model.contains("--adapter"), "{model}");
    let none = Adapter::load(&backbone).unwrap_err().to_string();
    assert!(none.contains("no adapter"), "{none}");
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that does not run says so")]
fn a_bank_predicts_in_its_own_precision() {
    if Precision::Bf16.check(&device()).is_err() {
        eprintln!("SKIPPED: this processor does not multiply in bfloat16");
        return;
    }
    let files = Files::new();
    let (bank, path) = files.deep_bank();
    let batch: Vec<(&str, Sample)> = ["a"].into_iter().zip(frames(1)).collect();
    let fp32 = values(&bank.predict(&batch).unwrap()[0]);
    let mut bank = bank.with_precision(Precision::Bf16);
    bank.add("b", &path).unwrap();
    let bf16 = values(&Precision::Fp32.scope(|| bank.predict(&batch)).unwrap()[0]);
    assert_ne!(fp32, bf16);
    for name in ["a", "b"] {
        let saved = bank.get(name).unwrap();
        let inputs = saved.card.inputs(&frames(1), &device()).unwrap();
        assert_eq!(values(&saved.predict(inputs).unwrap()), bf16, "{name}");
    }
}

#[test]
fn adapters_share_the_memory_of_their_backbone() {
    let files = Files::new();
    let deep = deep();
    let backbone = files.backbone("backbone", &tuned(&PeftConfig::default(), 1, 0));
    let mut bank = AdapterBank::new(&backbone, device());
    for name in ["a", "b"] {
        bank.add(name, &files.adapter(name, &tuned(&deep, 1, 5), "prompts")).unwrap();
    }
    // With the file gone, a further adapter still finds its backbone.
    fs_err::remove_file(&backbone).unwrap();
    bank.add("c", &files.adapter("c", &tuned(&deep, 1, 6), "prompts")).unwrap();
    // One that changes the norms has the rest in common.
    let saved = tuned(&PeftConfig::default(), 1, 7);
    bank.add("d", &files.adapter("d", &saved, "norm")).unwrap();
    assert_eq!(bank.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(bank.backbones(), 1);
}

#[test]
fn an_unused_backbone_is_freed_and_read_again_when_needed() {
    let files = Files::new();
    let (mut bank, path) = files.deep_bank();
    bank.add("b", &path).unwrap();
    assert!(bank.remove("a"));
    assert_eq!(bank.backbones(), 1, "another adapter uses it");
    let held = Arc::downgrade(&bank.backbones[0]);
    // A pass that runs meanwhile has a clone, and keeps what it needs until it ends.
    let running = bank.clone();
    assert!(bank.remove("b"));
    assert_eq!((bank.backbones(), running.backbones()), (0, 1));
    let batch: Vec<(&str, Sample)> = ["b"].into_iter().zip(frames(1)).collect();
    let before = values(&running.predict(&batch).unwrap()[0]);
    drop(running);
    assert!(held.upgrade().is_none(), "the weights are still in memory");
    bank.add("b", &path).unwrap();
    assert_eq!(values(&bank.predict(&batch).unwrap()[0]), before);
    // One that cannot be loaded leaves nothing behind.
    fs_err::write(files.path("damaged"), b"x").unwrap();
    assert!(bank.remove("b"));
    assert!(bank.add("c", &files.path("damaged")).is_err());
    let other = files.adapter("other", &tuned(&deep(), 2, 5), "prompts");
    assert!(bank.add("c", &other).is_err());
    assert_eq!((bank.backbones(), bank.names().count()), (0, 0));
}
