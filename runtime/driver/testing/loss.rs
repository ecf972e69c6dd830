//! What is left of a device after a fault.

use super::{KERNELS, context, function, in_own_process};
use crate::driver::{
    Context, DeviceBuffer, DriverError, Event, Graph, Launch, Module, PinnedArena, PinnedBuffer,
    PtxImage, Result, Stream,
};

#[test]
fn a_fault_loses_the_device_for_everything() {
    in_own_process("driver::testing::loss::everything_answers_that_the_device_is_lost");
}

#[test]
#[ignore = "loses the device, and so runs in a process of its own"]
fn everything_answers_that_the_device_is_lost() {
    let context = context();
    let stream = Stream::new(&context).unwrap();
    let event = Event::timing(&context).unwrap();
    let mut buffer = DeviceBuffer::from_host(&stream, "before", &[1f32; 8]).unwrap();
    let mut pinned = PinnedBuffer::<f32>::new(&context, "before", 8).unwrap();
    let mut arena = PinnedArena::reserve(&context, 1 << 20).unwrap();
    arena.grow(1 << 19, 1 << 19).unwrap();
    let fault = function(&stream, "fault");
    let image = PtxImage::new(KERNELS).unwrap();
    let module = Module::load(&context, "before", &[image]).unwrap();
    let mut graph = Graph::capture(&stream, || Ok(())).unwrap();

    let trap = || Launch::new(&fault, [1, 1, 1], [1, 1, 1]);
    // SAFETY: the kernel touches no memory.
    unsafe { trap().run(&stream) }.unwrap();
    let first = stream.synchronize().unwrap_err();
    let DriverError::DeviceLost { cause, .. } = &first else {
        panic!("{first}");
    };
    println!("{first}");
    assert!(cause.code.0 == 719 || cause.code.0 == 715, "{cause}");

    // SAFETY: none of these reaches the device.
    let (launched, replayed) = unsafe { (trap().run(&stream), graph.launch(&stream)) };
    let mut all = buffer.as_mut_slice();
    let answers: [(&str, Result<()>); 19] = [
        ("launch", launched),
        ("graph", replayed),
        ("scope", context.scope(|| ())),
        ("synchronize", context.synchronize()),
        ("memory", context.memory_info().map(drop)),
        ("stream", Stream::new(&context).map(drop)),
        ("record", stream.record(&event)),
        ("wait", stream.wait(&event)),
        ("event", Event::new(&context).map(drop)),
        ("query", event.is_reached().map(drop)),
        ("elapsed", event.milliseconds_since(&event).map(drop)),
        ("copy in", all.copy_from_host(&[0.0; 8], &stream)),
        ("fill", all.fill_bytes(0, &stream)),
        ("copy out", buffer.to_host(&stream).map(drop)),
        (
            "allocate",
            DeviceBuffer::<u8>::new(&context, "after", 8).map(drop),
        ),
        ("pinned", pinned.as_slice().map(drop)),
        ("arena", arena.grow(1 << 20, 1 << 20).map(drop)),
        (
            "module",
            Module::load(&context, "after", &[image]).map(drop),
        ),
        ("capture", Graph::capture(&stream, || Ok(())).map(drop)),
    ];
    for (what, answer) in answers {
        let lost = matches!(answer, Err(DriverError::DeviceLost { .. }));
        assert!(lost, "{what}: {answer:?}");
    }
    assert!(module.function("vector_add").is_err());
    // A new handle of the same context learns it from the driver.
    let again = Context::new(context.device().clone());
    let answer = again.and_then(|again| again.synchronize());
    assert!(answer.is_err());
    // Dropping all of this neither fails nor hangs.
}
