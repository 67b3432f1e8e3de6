//! PyTorch checkpoints as the published training scripts write them: `{'model', 'optimizer', 'epoch',
//! 'scaler', 'args'}`, the arguments as a `Namespace`.

use multimae::state::StateDict;

/// Values of `args`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument {
    Bool(bool),
    Int(u8),
    Text(&'static str),
}

/// The arguments of a training script.
pub(crate) type Arguments<'a> = &'a [(&'a str, Argument)];

/// A tensor in a storage.
struct View {
    name: String,
    shape: Vec<usize>,
    strides: Vec<usize>,
    storage: usize,
    offset: usize,
}

/// A storage: the class of its values, bytes per value, and the values.
struct Storage(&'static str, usize, Vec<u8>);

/// A checkpoint of tensors in single precision.
pub(crate) fn of_weights(weights: &StateDict, arguments: Arguments<'_>) -> Vec<u8> {
    let (mut views, mut storages) = (Vec::new(), Vec::new());
    for (name, data) in weights {
        let (shape, storage) = (data.shape().to_vec(), storages.len());
        let strides = strides(&shape);
        views.push(View { name: name.clone(), shape, strides, storage, offset: 0 });
        storages.push(Storage("FloatStorage", 4, data.as_bytes().to_vec()));
    }
    checkpoint(&views, storages, 64, arguments)
}

/// A checkpoint of tensors that overlap in one storage in half precision, each a place later than the
/// one before: the file is small, and every tensor has values of its own, those of [`element`].
pub(crate) fn of_sizes(keys: &[(String, Vec<usize>)], arguments: Arguments<'_>) -> Vec<u8> {
    let view = |(index, (name, shape)): (usize, &(String, Vec<usize>))| View {
        name: name.clone(),
        shape: shape.clone(),
        strides: strides(shape),
        storage: 0,
        offset: index,
    };
    let views: Vec<View> = keys.iter().enumerate().map(view).collect();
    let sizes = keys.iter().map(|(_, shape)| shape.iter().product::<usize>());
    let largest = sizes.clone().max().unwrap_or(0);
    // All tensors may have 16 times the bytes of the file.
    let values = (largest + keys.len()).max(sizes.sum::<usize>() / 14);
    let halves = (0..values).flat_map(|at| half(at % PERIOD + 1).to_le_bytes()).collect();
    checkpoint(&views, vec![Storage("HalfStorage", 2, halves)], 64, arguments)
}

/// Values after which those of [`of_sizes`] begin again; a prime, so that rows differ.
const PERIOD: usize = 2039;

/// An element of the tensor at an index of [`of_sizes`].
pub(crate) fn element(index: usize, at: usize) -> f32 {
    ((index + at) % PERIOD + 1) as f32 / 16_384.0
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    strides
}

/// `n / 2^14` in half precision, exact for up to 2048.
fn half(n: usize) -> u16 {
    let exponent = n.ilog2();
    (((exponent + 1) << 10) | (((n as u32) << (10 - exponent)) & 0x3ff)) as u16
}

fn checkpoint(
    views: &[View],
    mut storages: Vec<Storage>,
    optimizer: usize,
    arguments: Arguments<'_>,
) -> Vec<u8> {
    let moments = View {
        name: "exp_avg".to_owned(),
        shape: vec![optimizer],
        strides: vec![1],
        storage: storages.len(),
        offset: 0,
    };
    storages.push(Storage("ByteStorage", 1, vec![0; optimizer]));
    let mut pickle = b"\x80\x02}(".to_vec();
    text(&mut pickle, "model");
    pickle.extend(b"ccollections\nOrderedDict\n)R(");
    for view in views {
        text(&mut pickle, &view.name);
        tensor(&mut pickle, view, &storages);
    }
    pickle.push(b'u');
    text(&mut pickle, "optimizer");
    pickle.push(b'}');
    text(&mut pickle, "state");
    pickle.extend(b"}K\x00}");
    text(&mut pickle, "exp_avg");
    tensor(&mut pickle, &moments, &storages);
    pickle.extend(b"sss");
    text(&mut pickle, "epoch");
    pickle.extend(b"K\x07");
    text(&mut pickle, "scaler");
    pickle.push(b'}');
    if !arguments.is_empty() {
        text(&mut pickle, "args");
        pickle.extend(b"cargparse\nNamespace\n)\x81}(");
        for (name, value) in arguments {
            text(&mut pickle, name);
            match value {
                Argument::Bool(value) => pickle.push(if *value { 0x88 } else { 0x89 }),
                Argument::Int(value) => pickle.extend([b'K', *value]),
                Argument::Text(value) => text(&mut pickle, value),
            }
        }
        pickle.extend(b"ub");
    }
    pickle.extend(b"u.");
    let data = storages.into_iter().enumerate();
    let data = data.map(|(index, storage)| (format!("archive/data/{index}"), storage.2));
    archive([("archive/data.pkl".to_owned(), pickle)].into_iter().chain(data))
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn int(pickle: &mut Vec<u8>, value: usize) {
    pickle.push(b'J');
    pickle.extend((value as i32).to_le_bytes());
}

fn numbers(pickle: &mut Vec<u8>, values: &[usize]) {
    pickle.push(b'(');
    for value in values {
        int(pickle, *value);
    }
    pickle.push(b't');
}

fn tensor(pickle: &mut Vec<u8>, view: &View, storages: &[Storage]) {
    let Storage(class, unit, bytes) = &storages[view.storage];
    pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(pickle, "storage");
    pickle.extend(format!("ctorch\n{class}\n").as_bytes());
    text(pickle, &view.storage.to_string());
    text(pickle, "cpu");
    int(pickle, bytes.len() / unit);
    // The storage is named by a tuple.
    pickle.extend(b"tQ");
    int(pickle, view.offset);
    numbers(pickle, &view.shape);
    numbers(pickle, &view.strides);
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
}

/// A zip archive of stored entries without checksums, as PyTorch writes them on request.
fn archive(entries: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    let (mut file, mut directory, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for (name, content) in entries {
        let at = file.len() as u32;
        let mut record = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        record.extend(0_u32.to_le_bytes());
        record.extend([content.len() as u32; 2].map(u32::to_le_bytes).concat());
        record.extend((name.len() as u16).to_le_bytes());
        record.extend([0; 2]);
        file.extend(b"PK\x03\x04");
        file.extend(&record);
        file.extend(name.as_bytes());
        file.extend(content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&record);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
        count += 1;
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count; 2].map(u16::to_le_bytes).concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}
