//! What a machine makes of `--device`, with and without a driver.

use kcache::driver::{Device, DeviceChoice, DriverError, Placement};

/// Whether this machine's driver library can be opened.
fn has_driver() -> bool {
    // SAFETY: the driver of the machine, made to be loaded so.
    unsafe { libloading::Library::new("libcuda.so.1") }.is_ok()
}

#[test]
fn without_a_driver_auto_is_the_cpu_and_says_why() {
    match (DeviceChoice::Auto.place().unwrap(), has_driver()) {
        (Placement::Cuda(device), true) => assert!(device.capability.major >= 8),
        (Placement::Cpu { reason }, false) => {
            let message = reason.expect("a reason").to_string();
            assert!(message.contains("no CUDA driver"), "{message}");
            assert!(message.contains("libcuda.so.1"), "{message}");
            assert!(message.contains("install the NVIDIA driver"), "{message}");
        }
        (Placement::Cpu { reason }, true) => {
            // A driver without a device that runs the kernels.
            assert!(!matches!(reason, None | Some(DriverError::NoDriver { .. })));
        }
        (Placement::Cuda(_), false) => panic!("a device without a driver"),
    }
}

#[test]
fn without_a_driver_a_cuda_device_is_refused_at_every_call() {
    if has_driver() {
        assert!(!matches!(
            Device::count(),
            Err(DriverError::NoDriver { .. })
        ));
        return;
    }
    for _ in 0..2 {
        let error = DeviceChoice::Cuda(0).place().unwrap_err();
        assert!(matches!(error, DriverError::NoDriver { .. }), "{error}");
        assert!(Device::all().is_err());
    }
}

#[test]
fn the_cpu_is_taken_without_asking_the_driver() {
    let placement = DeviceChoice::Cpu.place().unwrap();
    assert!(matches!(placement, Placement::Cpu { reason: None }));
}
