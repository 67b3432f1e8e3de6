//! Small models of every kind, with values that differ everywhere.

use multimae::burn::module::Module;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::EncoderConfig;
use multimae::input_adapters::ModalityTensor;
use multimae::modality::{Modality, Size};
use multimae::model::Inputs;
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::{HeadConfig, TaskHead};
use multimae::peft::{PeftConfig, PeftModel};
use multimae::positions::NonSquareTables;
use multimae_data::{
    DataModality, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD, Interpolation, Quantity,
};
use multimae_infer::saved_model::{InputModality, ModelCard, Normalisation, SavedModel};
use multimae_kernels::precision::Precision;
use multimae_tasks::TaskCard;
use serde_json::{Value, json};

/// Height and width of the images that the models were built for.
pub(crate) const SIZE: Size = Size { height: 32, width: 64 };
const WIDTH: usize = 24;
const DEPTH: usize = 4;
/// Classes of label maps.
pub(crate) const CLASSES: usize = 5;

/// A head of a kind by its recipe entry, on the tokens of these modalities.
pub(crate) fn head(name: &str, on: &[&str], config: Value) -> TaskHead {
    let head: HeadConfig = serde_json::from_value(config).unwrap();
    TaskHead {
        name: name.to_owned(),
        main_tasks: on.iter().map(|n| (*n).to_owned()).collect(),
        head,
    }
}

/// A small DPT head.
pub(crate) fn dpt(name: &str, on: &[&str], outputs: usize, head_type: &str) -> TaskHead {
    head(
        name,
        on,
        json!({"kind": "dpt", "num_classes": outputs, "head_type": head_type, "hooks": [0, 1, 2, 3],
               "layer_dims": [4, 6, 8, 10], "feature_dim": 8}),
    )
}

/// A light head.
pub(crate) fn light(name: &str, outputs: usize) -> TaskHead {
    let config =
        json!({"kind": "light", "num_classes": outputs, "hooks": [1, 3], "width": 8, "depth": 1});
    head(name, &["rgb"], config)
}

/// A model with these inputs, heads and PEFT modules; tasks follow from the names of the heads.
pub(crate) fn model(inputs: &[&str], heads: Vec<TaskHead>, peft: Value) -> SavedModel {
    model_of_patches(8, inputs, heads, peft)
}

/// [`model`] with patches of this side.
pub(crate) fn model_of_patches(
    patch_size: usize,
    inputs: &[&str],
    heads: Vec<TaskHead>,
    peft: Value,
) -> SavedModel {
    let peft: PeftConfig = serde_json::from_value(peft).unwrap();
    let (modalities, data): (Vec<Modality>, Vec<InputModality>) =
        inputs.iter().map(|name| modality(name)).unzip();
    let tasks = heads.iter().map(|head| (head.name.clone(), task(head))).collect();
    let config = MultiVitConfig {
        encoder: EncoderConfig { mlp_ratio: 2.0, ..EncoderConfig::new(WIDTH, DEPTH, 3) },
        patch_size,
        image_size: SIZE,
        num_global_tokens: 1,
        inputs: modalities,
        heads,
        tables: NonSquareTables::RowColumn,
    };
    let model = PeftModel::new(&config, &peft, &Device::default()).unwrap();
    let model = varied(model);
    let card = ModelCard {
        model: config,
        peft,
        inputs: data,
        tasks,
        geometry: Geometry::Inside { size: (SIZE.height, SIZE.width) },
        valid_mask: None,
    };
    card.check().unwrap();
    SavedModel { model, card, notes: indexmap::IndexMap::new(), precision: Precision::Fp32 }
}

/// A modality as the model and as the data know it.
fn modality(name: &str) -> (Modality, InputModality) {
    let (modality, encoding) = match name {
        "rgb" => (
            Modality::continuous("rgb", 3),
            Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD },
        ),
        "semseg" => (
            Modality::categorical("semseg", CLASSES, 4),
            Encoding::Labels {
                classes: CLASSES,
                ignore: None,
                offset: 0,
                values: Vec::new(),
                map: None,
            },
        ),
        name => (
            Modality::continuous(name, 1),
            Encoding::Continuous {
                channels: 1,
                divisor: 1000.0,
                mean: vec![0.0],
                std: vec![1.0],
                interpolation: Interpolation::Nearest,
                standardize: false,
                quantity: Quantity::Distance,
            },
        ),
    };
    let mut data = DataModality::new(name, encoding);
    data.stride = modality.stride;
    let input = InputModality {
        data,
        adapter: name.to_owned(),
        normalisation: Normalisation::None,
        unit: None,
    };
    (modality, input)
}

/// The task of a head by its name.
fn task(head: &TaskHead) -> TaskCard {
    let class = |i: usize| json!({"name": format!("class {i}"), "color": [i, i, i]});
    let classes: Vec<Value> = (0..CLASSES).map(class).collect();
    let value = match head.name.as_str() {
        "depth" => {
            json!({"kind": "depth", "scale": {"linear": {"mean": 2.5, "std": 1.5}}, "min": 0.001, "max": 10.0})
        }
        "log_depth" => {
            json!({"kind": "depth", "scale": {"log": {"mean": 0.5, "std": 0.4}}, "min": 0.001, "max": 10.0})
        }
        "semseg" => {
            json!({"kind": "labels", "classes": classes, "ignore": 1, "offset": 0})
        }
        "normals" => json!({"kind": "normals"}),
        "values" => {
            json!({"kind": "values", "scale": {"mean": [0.5, -1.0], "std": [2.0, 3.0]}, "unit": null})
        }
        "place" => json!({"kind": "classes", "names": ["a", "b", "c"]}),
        other => panic!("no task `{other}`"),
    };
    TaskCard { task: multimae_tasks::from_json(value).unwrap(), target: None }
}

/// A model whose parameters differ everywhere, norms and scales around one.
pub(crate) fn varied<M: Module>(model: M) -> M {
    let mut seed = 0.0;
    multimae::state::update(model, |name, value| {
        seed += 31.0;
        let values = wave(value.dims(), seed);
        let norm = name.contains("norm") && name.ends_with("weight");
        let scale = name.ends_with("ssf.scale");
        match name.ends_with("pos_emb") {
            true => None,
            false if norm || scale => Some(values * 0.2 + 1.0),
            false => Some(values * 0.25),
        }
    })
}

/// Values that differ everywhere, in -1 to 1.
pub(crate) fn wave<const D: usize>(dims: [usize; D], seed: f32) -> Tensor<D> {
    let count: usize = dims.iter().product();
    let values: Vec<f32> =
        (0..count).map(|i| ((i as f64 + f64::from(seed)) * 12.9898).sin() as f32).collect();
    Tensor::from_data(TensorData::new(values, dims), &Device::default())
}

/// A batch of a model's inputs of this image size.
pub(crate) fn inputs(names: &[&str], batch: usize, size: Size) -> Inputs {
    let of = |(place, name): (usize, &&str)| {
        let seed = 7.0 * place as f32;
        let value = match *name {
            "semseg" => {
                let (rows, columns) = (size.height / 4, size.width / 4);
                let labels: Vec<i64> = (0..batch * rows * columns)
                    .map(|i| ((i * i + 3 * i) % CLASSES) as i64)
                    .collect();
                let data = TensorData::new(labels, [batch, rows, columns]);
                ModalityTensor::Categorical(Tensor::from_data(data, &Device::default()))
            }
            "rgb" => ModalityTensor::Continuous(wave([batch, 3, size.height, size.width], seed)),
            _ => ModalityTensor::Continuous(wave([batch, 1, size.height, size.width], seed)),
        };
        ((*name).to_owned(), value)
    };
    names.iter().enumerate().map(of).collect()
}
