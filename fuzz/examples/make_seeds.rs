//! Writes the seeds of the targets that no fixture of the crates serves: small images of every type,
//! the index of a pack, weights, lists and forms.
//!
//! cargo run --example make_seeds

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder as _, ImageFormat, Luma, Rgb, RgbImage};
use multimae_data::encode::npy;
use multimae_data::packed::{self, find_folders};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    pngs(&seeds)?;
    jpegs(&seeds)?;
    bitmaps(&seeds)?;
    arrays(&seeds)?;
    pack(&seeds)?;
    shard_index(&seeds)?;
    lists(&seeds)?;
    pickles(&seeds)?;
    safetensors(&seeds)?;
    recipes(&seeds)?;
    forms(&seeds)?;
    Ok(())
}

fn put(seeds: &Path, target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = seeds.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

fn pngs(seeds: &Path) -> Result<(), Box<dyn std::error::Error>> {
    use png::{BitDepth, ColorType, Encoder};
    let types = [
        ("grey1", ColorType::Grayscale, BitDepth::One, 1),
        ("grey2", ColorType::Grayscale, BitDepth::Two, 2),
        ("grey4", ColorType::Grayscale, BitDepth::Four, 4),
        ("grey8", ColorType::Grayscale, BitDepth::Eight, 8),
        ("grey16", ColorType::Grayscale, BitDepth::Sixteen, 16),
        ("palette2", ColorType::Indexed, BitDepth::Two, 2),
        ("palette8", ColorType::Indexed, BitDepth::Eight, 8),
        ("rgb8", ColorType::Rgb, BitDepth::Eight, 24),
        ("rgb16", ColorType::Rgb, BitDepth::Sixteen, 48),
        ("rgba8", ColorType::Rgba, BitDepth::Eight, 32),
        ("grey_alpha8", ColorType::GrayscaleAlpha, BitDepth::Eight, 16),
    ];
    for (name, color, depth, bits) in types {
        let (width, height) = (9_u32, 7_u32);
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette((0..12).collect::<Vec<u8>>());
        }
        let line = (width as usize * bits).div_ceil(8);
        let data: Vec<u8> = (0..line * height as usize).map(|i| (i * 37) as u8).collect();
        encoder.write_header()?.write_image_data(&data)?;
        put(seeds, "png", name, &bytes)?;
    }
    Ok(())
}

fn jpegs(seeds: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let rgb = RgbImage::from_fn(17, 11, |x, y| Rgb([(x * 9) as u8, (y * 20) as u8, 77]));
    let grey = GrayImage::from_fn(17, 11, |x, y| Luma([(x * 9 + y) as u8]));
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 80).encode_image(&rgb)?;
    put(seeds, "jpeg", "rgb", &bytes)?;
    // With an EXIF block in front, of orientation 6.
    let exif =
        b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    put(seeds, "jpeg", "exif", &[&bytes[..2], exif, &bytes[2..]].concat())?;
    // With a video behind, as phones write them.
    put(
        seeds,
        "jpeg",
        "motion",
        &[&bytes[..], b"\0\0\0\x18ftypmp42\xff\xda\xff\xd9\xff\xda"].concat(),
    )?;
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 40).write_image(
        &grey,
        17,
        11,
        ExtendedColorType::L8,
    )?;
    put(seeds, "jpeg", "grey", &bytes)?;
    Ok(())
}

/// Bitmaps, lossless WebP and netpbm. `webp/lossy` and the JPEG 2000 files are of other programs.
fn bitmaps(seeds: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let rgb = RgbImage::from_fn(17, 11, |x, y| Rgb([(x * 9) as u8, (y * 20) as u8, 77]));
    let grey = GrayImage::from_fn(17, 11, |x, y| Luma([(x * 9 + y) as u8]));
    for (target, format) in [("bmp", ImageFormat::Bmp), ("webp", ImageFormat::WebP)] {
        let mut bytes = Cursor::new(Vec::new());
        rgb.write_to(&mut bytes, format)?;
        put(seeds, target, "rgb", bytes.get_ref())?;
    }
    let mut bytes = Cursor::new(Vec::new());
    grey.write_to(&mut bytes, ImageFormat::Bmp)?;
    put(seeds, "bmp", "palette", bytes.get_ref())?;
    let binary = |header: &str, bytes: &[u8]| [header.as_bytes(), bytes].concat();
    put(seeds, "pnm", "pbm_text", b"P1\n# a comment\n3 2\n0 1 0\n1 1 0\n")?;
    put(seeds, "pnm", "pgm_text", b"P2 3 2 1000\n0 1 2 3 4 1000\n")?;
    put(seeds, "pnm", "ppm_text", b"P3\n2 1\n255\n1 2 3 4 5 6\n")?;
    put(seeds, "pnm", "pbm", &binary("P4\n9 2\n", &[0xa5, 0x80, 0x5a, 0]))?;
    put(seeds, "pnm", "pgm16", &binary("P5\n2 2\n65535\n", &[0, 1, 2, 3, 4, 5, 6, 7]))?;
    put(seeds, "pnm", "ppm", &binary("P6\n2 1\n255\n", &[1, 2, 3, 4, 5, 6]))?;
    let floats: Vec<u8> =
        [1.5_f32, -2.0, f32::NAN, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    put(seeds, "pnm", "pfm", &binary("Pf\n2 2\n-1.0\n", &floats))?;
    Ok(())
}

fn arrays(seeds: &Path) -> Result<(), Box<dyn std::error::Error>> {
    put(seeds, "npy", "u8", &npy(&[1_u8, 2, 3, 4, 5, 6], &[2, 3])?)?;
    put(seeds, "npy", "u16", &npy(&[1_u16, 2, 3, 4, 5, 6], &[2, 3])?)?;
    put(seeds, "npy", "f32", &npy(&[1.5_f32, f32::NAN, 3.0], &[1, 1, 3])?)?;
    put(seeds, "npy", "normals", &npy(&[0.5_f32; 12], &[3, 2, 2])?)?;
    let mut fortran = npy(&[1.5_f32, 2.5, 3.0, 4.0], &[2, 2])?;
    if let Some(at) = fortran.windows(5).position(|window| window == b"False") {
        fortran[at..at + 5].copy_from_slice(b"True ");
    }
    put(seeds, "npy", "fortran", &fortran)?;
    Ok(())
}

/// The index of a pack of two samples; the target adds the header.
fn pack(seeds: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join("multimae-fuzz-seeds");
    let _ = fs::remove_dir_all(&dir);
    for folder in ["color", "depth", "labels"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    for name in ["a", "b"] {
        let file = |folder: &str| -> PathBuf { dir.join(folder).join(format!("{name}.png")) };
        RgbImage::from_pixel(6, 4, Rgb([1, 2, 3])).save(file("color"))?;
        image::ImageBuffer::<Luma<u16>, Vec<u16>>::from_pixel(6, 4, Luma([900]))
            .save(file("depth"))?;
        GrayImage::from_pixel(6, 4, Luma([3])).save(file("labels"))?;
    }
    fs::write(dir.join("train.txt"), "a\nb\n")?;
    let out = dir.join("out.pack");
    let options = packed::Options {
        folders: find_folders(&dir, &std::collections::BTreeMap::new())?,
        shrink: None,
        skip_bad: false,
        replace: true,
        threads: 1,
    };
    packed::create(&dir, &out, &options, |_, _| {}, &AtomicBool::new(false))?;
    let bytes = fs::read(&out)?;
    let at = u64::from_le_bytes(bytes[12..20].try_into()?) as usize;
    put(seeds, "pack", "rooms", &bytes[at..])?;
    put(seeds, "pack_file", "rooms", &bytes)?;
    Ok(())
}

/// The index of the shards that `webdataset` wrote; the target adds what is before its checksum.
fn shard_index(seeds: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/multimae-data/tests/fixtures/shards/webdataset/train-000000.tar");
    let dir = std::env::temp_dir().join("multimae-fuzz-seeds");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    fs::copy(fixture, dir.join("train-000000.tar"))?;
    let depth = multimae_fuzz::modalities().iter().filter(|modality| modality.name == "depth");
    let depth: Vec<_> = depth.cloned().collect();
    multimae_data::Dataset::open(&dir, &multimae_data::Layout::Folders, &depth)?;
    put(seeds, "shard_index", "webdataset", &fs::read(dir.join("shards.index"))?[16..])?;
    Ok(())
}

fn lists(seeds: &Path) -> std::io::Result<()> {
    put(seeds, "list", "plain", b"# a comment\n0001\n\n0002\nscene/0003\n")?;
    put(seeds, "list", "bom", b"\xef\xbb\xbf0001\r\n0002\r\n")?;
    put(seeds, "list", "utf16", b"\xff\xfea\0\n\0b\0")?;
    put(seeds, "list", "columns", b"rgb/1.jpg depth/1.png 518.85\n")
}

fn pickles(seeds: &Path) -> std::io::Result<()> {
    // {'a': 1, 'b': [True, 2.5, None, 'x']} with protocol 2.
    put(
        seeds,
        "pickle",
        "plain",
        b"\x80\x02}q\0(X\x01\0\0\0aK\x01X\x01\0\0\0b]q\x01(\x88G@\x04\0\0\0\0\0\0NX\x01\0\0\0xeu.",
    )?;
    // A tensor: _rebuild_tensor_v2 of the storage `0`, four values, shape (2, 2).
    put(
        seeds,
        "pickle",
        "tensor",
        b"\x80\x02}q\0X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\nq\x01((X\x07\0\0\0storagectorch\n\
          FloatStorage\nq\x02X\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0K\x02K\x02\x86K\x02K\x01\x86\x89}\
          tR\x73.",
    )?;
    put(seeds, "pickle", "reduce", b"cos\nsystem\n(S'ls'\ntR.")
}

fn safetensors(seeds: &Path) -> std::io::Result<()> {
    let file = |header: &str, values: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + values, 1);
        bytes
    };
    let two = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}}"#;
    put(seeds, "safetensors", "two", &file(two, 22))?;
    put(seeds, "safetensors", "empty", &file("{}", 0))?;
    put(
        seeds,
        "safetensors",
        "scalar",
        &file(r#"{"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}"#, 8),
    )
}

fn recipes(seeds: &Path) -> std::io::Result<()> {
    put(
        seeds,
        "recipe",
        "pretrain",
        b"in_domains: rgb-depth\nout_domains: rgb-depth\nalphas: 1.0\ninput_size: [24, 32]\nbatch_size: 2\n\
          modalities:\n  depth: {divisor: 1000, mean: [1], std: [2]}\nblr: 1e-4\nmodel: {width: 32, depth: 2, heads: 2}\n",
    )?;
    put(
        seeds,
        "recipe",
        "finetune",
        b"in_domains: rgb\nout_domains: [depth, semseg]\nheads: {depth: {kind: light}}\ntuning: [prompts]\n\
          modalities: {semseg: {classes: 13, ignore: 255, palette: nyu13}}\nopt_betas: [0.9, 0.999]\n",
    )?;
    put(seeds, "recipe", "anchors", b"a: &a [1, 2]\nb: *a\nepochs: !!int 3\nseed: 0x10\n")
}

fn forms(seeds: &Path) -> std::io::Result<()> {
    let mut image = Cursor::new(Vec::new());
    let picture = GrayImage::from_pixel(3, 2, Luma([5]));
    picture.write_to(&mut image, image::ImageFormat::Png).map_err(std::io::Error::other)?;
    let mut form = Vec::new();
    write!(form, "--x\r\nContent-Disposition: form-data; name=\"rgb\"; filename=\"a.png\"\r\n")?;
    write!(form, "Content-Type: image/png\r\n\r\n")?;
    form.extend_from_slice(image.get_ref());
    write!(
        form,
        "\r\n--x\r\nContent-Disposition: form-data; name=\"visible\"\r\n\r\n{{}}\r\n--x--\r\n"
    )?;
    put(seeds, "multipart", "form", &form)?;
    put(seeds, "multipart", "empty", b"--x--\r\n")?;
    put(seeds, "multipart", "cut", b"--x\r\nContent-Disposition: form-data; name=\"")
}
