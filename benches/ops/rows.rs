//! What is done to each row by itself, and the rate of reading.

use gpu_kernels::{elementwise, read_rate, rmsnorm, swiglu};
use half::bf16;
use kcache::driver::{DeviceBuffer, Launch, Result};

use crate::device::{Bench, ROTATED_BYTES, sets, wrong};

/// Blocks of the reading kernel on each multiprocessor.
const READING_BLOCKS: u32 = 4;

/// The same numbers, read so many times: a launch is as long as its start does not count. An odd
/// number of them folds to what one does.
const READ_COPIES: usize = 9;

/// Bytes that are read in a second, of a buffer larger than any cache.
pub fn read_bytes_per_s(bench: &mut Bench) -> Result<f64> {
    let words = ROTATED_BYTES / 2;
    let host = bench.random(words);
    let mut x = bench.allocate::<bf16>("x", READ_COPIES * words)?;
    for copy in 0..READ_COPIES {
        let mut part = x.slice_mut(copy * words..(copy + 1) * words)?;
        part.copy_from_host(&host, &bench.stream)?;
    }
    let bytes = READ_COPIES * ROTATED_BYTES;
    let blocks = READING_BLOCKS * bench.multiprocessors();
    let mut out = bench.allocate::<u32>("out", (blocks * read_rate::THREADS) as usize)?;
    let function = bench.function(&read_rate::READ_RATE)?;
    let target = out.as_mut_slice();
    let units = (bytes / 16) as u64;
    let queue = |_| {
        let launch = Launch::new(&function, [blocks, 1, 1], [read_rate::THREADS, 1, 1])
            .buffer_mut(&target)
            .buffer(x.as_slice())
            .value(&units);
        // SAFETY: the buffers have these sizes.
        unsafe { launch.run(&bench.stream) }
    };
    queue(0)?;
    let mut folded = vec![0; (blocks * read_rate::THREADS) as usize];
    target.as_slice().copy_to_host(&mut folded, &bench.stream)?;
    bench.stream.synchronize()?;
    let got = folded.iter().fold(0, |all, word| all ^ word);
    let pairs: &[[u16; 2]] = bytemuck::cast_slice(&host);
    let want = pairs.iter().fold(0, |all, [low, high]| {
        all ^ (u32::from(*low) | u32::from(*high) << 16)
    });
    if got != want {
        return Err(wrong(
            read_rate::READ_RATE.name,
            f64::from(got),
            f64::from(want),
        ));
    }
    Ok(bytes as f64 / bench.median_us(1, queue)? * 1e6)
}

/// Random floats.
fn floats(bench: &mut Bench, count: usize) -> Vec<f32> {
    bench.random(count).iter().map(|x| x.to_f32()).collect()
}

/// Microseconds of RMSNorm.
pub fn rms_norm(bench: &mut Bench, rows: usize, width: usize) -> Result<(String, f64)> {
    let x_host = floats(bench, rows * width);
    let weight = bench.upload("weight", &vec![1f32; width])?;
    let x = copies(bench, &x_host)?;
    let mut out = bench.allocate::<bf16>("out", rows * width)?;
    let kernel = &rmsnorm::RMSNORM_BF16;
    let function = bench.function(kernel)?;
    let target = out.as_mut_slice();
    let (width_, eps) = (width as u32, 1e-5f32);
    let queue = |set: usize| {
        let launch = Launch::new(&function, [rows as u32, 1, 1], [rmsnorm::THREADS, 1, 1])
            .buffer_mut(&target)
            .buffer(x[set % x.len()].as_slice())
            .buffer(weight.as_slice())
            .value(&width_)
            .value(&eps);
        // SAFETY: the buffers have these sizes.
        unsafe { launch.run(&bench.stream) }
    };
    queue(0)?;
    let squares = x_host[..width].iter().map(|&x| f64::from(x).powi(2));
    let norm = (squares.sum::<f64>() / width as f64 + f64::from(eps)).sqrt();
    check_first(
        bench,
        kernel.name,
        target.as_slice(),
        f64::from(x_host[0]) / norm,
    )?;
    let us = bench.median_us(x.len().max(8), queue)?;
    Ok((kernel.name.to_owned(), us))
}

/// Microseconds of the gate.
pub fn gate(bench: &mut Bench, rows: usize, width: usize) -> Result<(String, f64)> {
    let [gate_host, up_host] = [(); 2].map(|()| floats(bench, rows * width));
    let (gate, up) = (copies(bench, &gate_host)?, copies(bench, &up_host)?);
    let mut out = bench.allocate::<bf16>("out", rows * width)?;
    let kernel = &swiglu::SWIGLU_BF16;
    let function = bench.function(kernel)?;
    let target = out.as_mut_slice();
    let width_ = width as u32;
    let grid = [width_.div_ceil(4 * swiglu::THREADS), rows as u32, 1];
    let queue = |set: usize| {
        let set = set % gate.len();
        let launch = Launch::new(&function, grid, [swiglu::THREADS, 1, 1])
            .buffer_mut(&target)
            .buffer(gate[set].as_slice())
            .buffer(up[set].as_slice())
            .value(&width_)
            .value(&width_);
        // SAFETY: the buffers have these sizes.
        unsafe { launch.run(&bench.stream) }
    };
    queue(0)?;
    let (g, u) = (f64::from(gate_host[0]), f64::from(up_host[0]));
    check_first(
        bench,
        kernel.name,
        target.as_slice(),
        g / (1.0 + (-g).exp()) * u,
    )?;
    let us = bench.median_us(gate.len().max(8), queue)?;
    Ok((kernel.name.to_owned(), us))
}

/// Microseconds of the residual sum.
pub fn add(bench: &mut Bench, rows: usize, width: usize) -> Result<(String, f64)> {
    let [x_host, y_host] = [(); 2].map(|()| floats(bench, rows * width));
    let (mut x, y) = (copies(bench, &x_host)?, copies(bench, &y_host)?);
    let kernel = &elementwise::ADD;
    let function = bench.function(kernel)?;
    let count = (rows * width) as u64;
    let blocks = (count as u32).div_ceil(4 * elementwise::THREADS);
    let targets: Vec<_> = x.iter_mut().map(DeviceBuffer::as_mut_slice).collect();
    let queue = |set: usize| {
        let set = set % targets.len();
        let launch = Launch::new(&function, [blocks, 1, 1], [elementwise::THREADS, 1, 1])
            .buffer_mut(&targets[set])
            .buffer(y[set].as_slice())
            .value(&count);
        // SAFETY: the buffers have these sizes.
        unsafe { launch.run(&bench.stream) }
    };
    queue(0)?;
    let mut first = [0f32];
    let part = targets[0].as_slice().slice(0..1)?;
    part.copy_to_host(&mut first, &bench.stream)?;
    bench.stream.synchronize()?;
    if first[0] != x_host[0] + y_host[0] {
        let want = f64::from(x_host[0] + y_host[0]);
        return Err(wrong(kernel.name, f64::from(first[0]), want));
    }
    let us = bench.median_us(targets.len().max(8), queue)?;
    Ok((kernel.name.to_owned(), us))
}

/// As many buffers of these floats as launches rotate over.
fn copies(bench: &Bench, host: &[f32]) -> Result<Vec<DeviceBuffer<f32>>> {
    let count = sets(size_of_val(host));
    (0..count).map(|_| bench.upload("x", host)).collect()
}

/// Compares the first element of an output.
fn check_first(
    bench: &Bench,
    name: &str,
    out: kcache::driver::DeviceSlice<'_, bf16>,
    want: f64,
) -> Result<()> {
    let mut first = [bf16::ZERO];
    out.slice(0..1)?.copy_to_host(&mut first, &bench.stream)?;
    bench.stream.synchronize()?;
    let got = first[0].to_f64();
    if (got - want).abs() > 0.01 * want.abs() + 1e-3 {
        return Err(wrong(name, got, want));
    }
    Ok(())
}
