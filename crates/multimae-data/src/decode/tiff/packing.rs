//! The bytes of strips and tiles, unpacked.

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use weezl::{BitOrder, LzwStatus, decode::Decoder};

use crate::decode::Problem;

/// The most bytes that a packed byte stands for.
///
/// # Errors
/// If the compression is not read.
pub(super) fn largest_ratio(compression: u64) -> Result<usize, Problem> {
    match compression {
        1 => Ok(1),
        // A code of 12 bits stands for at most 4096 bytes.
        5 => Ok(2731),
        // A length of 258 takes at least two bits.
        8 | 32946 => Ok(1032),
        32773 => Ok(64),
        other => Err(not_read(other)),
    }
}

fn not_read(compression: u64) -> Problem {
    let name = match compression {
        2..=4 => "fax ",
        6 | 7 => "jpeg ",
        50000 => "zstd ",
        50001 => "webp ",
        34925 => "lzma ",
        _ => "",
    };
    format!(
        "the tiff is packed by {name}compression {compression}, which is not read; save it with \
         deflate, LZW or without"
    )
}

/// Unpacks the bytes of a strip or tile, which must be `size`.
pub(super) fn unpacked(compression: u64, packed: &[u8], size: usize) -> Result<Vec<u8>, Problem> {
    let short = || "a strip or tile of the tiff is damaged or ends early".to_owned();
    if size > packed.len().saturating_mul(largest_ratio(compression)?) {
        return Err(short());
    }
    let mut bytes = vec![0; size];
    match compression {
        1 => bytes.copy_from_slice(packed.get(..size).ok_or_else(short)?),
        5 => lzw(packed, &mut bytes).ok_or_else(short)?,
        8 | 32946 => ZlibDecoder::new(packed).read_exact(&mut bytes).map_err(|_| short())?,
        32773 => pack_bits(packed, &mut bytes).ok_or_else(short)?,
        other => return Err(not_read(other)),
    }
    Ok(bytes)
}

/// The variant of LZW that TIFF has.
fn lzw(mut packed: &[u8], bytes: &mut [u8]) -> Option<()> {
    let mut decoder = Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let mut done = 0;
    while done < bytes.len() {
        let step = decoder.decode_bytes(packed, &mut bytes[done..]);
        packed = packed.get(step.consumed_in..)?;
        done += step.consumed_out;
        if !matches!(step.status, Ok(LzwStatus::Ok)) && done < bytes.len() {
            return None;
        }
    }
    Some(())
}

/// Runs of bytes: a count n below 128 is followed by n + 1 bytes, one above by a byte 257 - n times.
fn pack_bits(packed: &[u8], bytes: &mut [u8]) -> Option<()> {
    let (mut at, mut done) = (0, 0);
    while done < bytes.len() {
        let count = usize::from(*packed.get(at)?);
        at += 1;
        if count == 128 {
            continue;
        }
        let (length, used) = if count < 128 { (count + 1, count + 1) } else { (257 - count, 1) };
        let run = packed.get(at..at + used)?;
        let target = bytes.get_mut(done..done + length)?;
        match used == length {
            true => target.copy_from_slice(run),
            false => target.fill(run[0]),
        }
        (at, done) = (at + used, done + length);
    }
    Some(())
}

/// Undoes the differences between neighbours of a row: predictor 2 of integers, 3 of floats.
pub(super) fn undo_predictor(
    predictor: u64,
    row: &mut [u8],
    (channels, bytes): (usize, usize),
    big_endian: bool,
) -> Result<(), Problem> {
    match (predictor, bytes) {
        (1, _) => {}
        (2, 1) => {
            for at in channels..row.len() {
                row[at] = row[at].wrapping_add(row[at - channels]);
            }
        }
        (2, 2) => sum::<2>(row, channels, big_endian),
        (2, 4) => sum::<4>(row, channels, big_endian),
        (2, 8) => sum::<8>(row, channels, big_endian),
        (3, 2 | 4 | 8) => {
            for at in channels..row.len() {
                row[at] = row[at].wrapping_add(row[at - channels]);
            }
            // The most significant bytes of all values come first.
            let (planes, count) = (row.to_vec(), row.len() / bytes);
            for value in 0..count {
                for byte in 0..bytes {
                    let place = if big_endian { byte } else { bytes - 1 - byte };
                    row[value * bytes + place] = planes[byte * count + value];
                }
            }
        }
        _ => return Err(format!("the tiff has predictor {predictor}, which is not read")),
    }
    Ok(())
}

/// Adds to every value of N bytes the one before it, channel by channel.
fn sum<const N: usize>(row: &mut [u8], channels: usize, big_endian: bool) {
    let values = row.as_chunks_mut::<N>().0;
    for at in channels..values.len() {
        let (before, this) = (values[at - channels], &mut values[at]);
        let mut carry = 0;
        for index in 0..N {
            let place = if big_endian { N - 1 - index } else { index };
            let sum = u16::from(before[place]) + u16::from(this[place]) + carry;
            this[place] = sum as u8;
            carry = sum >> 8;
        }
    }
}
