//! What the driver layer costs on this machine: pinning, copies, launches.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use kcache::driver::{
    Context, DeviceBuffer, DeviceChoice, Event, Function, Graph, Launch, Module, PinnedArena,
    PinnedBuffer, Placement, PtxImage, Result, Stream,
};

const KERNELS: &str = include_str!("../runtime/driver/testing/kernels.ptx");
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

fn main() -> Result<()> {
    let device = match DeviceChoice::Auto.place()? {
        Placement::Cuda(device) => device,
        Placement::Cpu { reason } => {
            let reason = reason.map(|r| r.to_string()).unwrap_or_default();
            println!("nothing to measure: {reason}");
            return Ok(());
        }
    };
    let cuda = kcache::driver::Device::cuda_version()?;
    println!(
        "{device}, compute capability {}, driver for CUDA {cuda}",
        device.capability
    );
    let context = Context::new(device)?;
    let stream = Stream::new(&context)?;
    pinning(&context)?;
    copies(&context, &stream)?;
    launches(&context, &stream)
}

/// The median of `rounds` runs.
fn milliseconds(rounds: usize, mut work: impl FnMut() -> Result<f64>) -> Result<f64> {
    work()?; // Warms up.
    let mut times = (0..rounds).map(|_| work()).collect::<Result<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[rounds / 2])
}

/// Milliseconds on the device of what `work` queues.
fn on_device(stream: &Stream, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (start, end) = (
        Event::timing(stream.context())?,
        Event::timing(stream.context())?,
    );
    stream.record(&start)?;
    work()?;
    stream.record(&end)?;
    end.synchronize()?;
    end.milliseconds_since(&start).map(f64::from)
}

fn on_host(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn rate(what: &str, bytes: usize, ms: f64) {
    let mib = bytes as f64 / MIB as f64;
    let speed = bytes as f64 / ms / 1e6;
    println!("{what:<44} {mib:>8.0} MiB {ms:>10.3} ms {speed:>9.1} GB/s");
}

fn pinning(context: &Context) -> Result<()> {
    let bytes = GIB;
    let ms = on_host(|| PinnedBuffer::<u8>::new(context, "buffer", bytes).map(drop))?;
    rate("pin and free: cuMemHostAlloc", bytes, ms);
    for gib in [1, 4, 12] {
        let mut arena = PinnedArena::reserve(context, gib * GIB)?;
        let ms = on_host(|| arena.grow(gib * GIB, gib * GIB).map(drop))?;
        rate("pin: arena", gib * GIB, ms);
        let ms = on_host(|| {
            drop(arena);
            Ok(())
        })?;
        rate("free: arena", gib * GIB, ms);
    }
    Ok(())
}

fn copies(context: &Context, stream: &Stream) -> Result<()> {
    let other = Stream::new(context)?;
    let largest = 256 * MIB;
    let mut device = DeviceBuffer::<u8>::zeroed(stream, "device", largest)?;
    let mut second = DeviceBuffer::<u8>::zeroed(stream, "second", largest)?;
    let mut arena = PinnedArena::reserve(context, 2 * largest)?;
    arena.grow(2 * largest, 2 * largest)?;
    for bytes in [64 << 10, MIB, 16 * MIB, largest] {
        let ms = milliseconds(20, || {
            let mut part = device.slice_mut(0..bytes)?;
            on_device(stream, || arena.copy_to_device(0, &mut part, stream))
        })?;
        rate("host to device, arena", bytes, ms);
        let ms = milliseconds(20, || {
            let part = device.slice(0..bytes)?;
            on_device(stream, || arena.copy_from_device(0, part, stream))
        })?;
        rate("device to host, arena", bytes, ms);
    }
    let ms = milliseconds(10, || {
        on_host(|| {
            arena.copy_from_device(largest, second.as_slice(), &other)?;
            arena.copy_to_device(0, &mut device.as_mut_slice(), stream)?;
            other.synchronize()?;
            stream.synchronize()
        })
    })?;
    rate("both directions at once, each", largest, ms);
    let host = vec![1u8; largest];
    let ms = milliseconds(5, || {
        on_host(|| device.as_mut_slice().copy_from_host(&host, stream))
    })?;
    rate("host to device, pageable", largest, ms);
    let ms = milliseconds(20, || {
        let mut target = second.as_mut_slice();
        on_device(stream, || target.copy_from(device.as_slice(), stream))
    })?;
    rate("device to device, read and written", 2 * largest, ms);
    Ok(())
}

fn launches(context: &Context, stream: &Stream) -> Result<()> {
    const COUNT: usize = 1000;
    let start = Instant::now();
    let module = Module::load(context, "kernels", &[PtxImage::new(KERNELS)?])?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    println!("load a module of 4 small kernels {ms:>34.3} ms");
    let add = module.function("vector_add")?;
    let buffer = DeviceBuffer::<f32>::zeroed(stream, "buffer", 32)?;
    let per_launch = |what: &str, ms: f64| {
        let us = ms * 1e3 / COUNT as f64;
        println!("{what:<44} {us:>24.3} µs each");
    };
    let queue = || (0..COUNT).try_for_each(|_| nothing(&add, &buffer, stream));
    let ms = milliseconds(10, || {
        let ms = on_host(queue)?;
        stream.synchronize()?;
        Ok(ms)
    })?;
    per_launch("queue a launch", ms);
    let ms = milliseconds(10, || {
        let ms = on_host(|| context.scope(queue)?)?;
        stream.synchronize()?;
        Ok(ms)
    })?;
    per_launch("queue a launch, within a scope", ms);
    let ms = milliseconds(10, || on_device(stream, queue))?;
    per_launch("run a launch on the device", ms);
    let mut graph = Graph::capture(stream, queue)?;
    // SAFETY: the buffer lives.
    let ms = milliseconds(10, || on_device(stream, || unsafe { graph.launch(stream) }))?;
    per_launch("run a launch within a graph", ms);
    let ms = milliseconds(100, || on_host(|| stream.synchronize()))?;
    println!("{:<44} {:>24.3} µs", "synchronize an idle stream", ms * 1e3);
    Ok(())
}

/// A launch that does no work.
fn nothing(add: &Function, buffer: &DeviceBuffer<f32>, stream: &Stream) -> Result<()> {
    let all = buffer.as_slice();
    let launch = Launch::new(add, [1, 1, 1], [32, 1, 1])
        .buffer(all)
        .buffer(all)
        .buffer(all)
        .value(&0u32);
    // SAFETY: a count of 0 touches no memory.
    unsafe { launch.run(stream) }
}
