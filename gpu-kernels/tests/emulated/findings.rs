//! What the emulation finds, and a device does not.

use cuda_std::emulation::{FindingKind, Gpu, LaunchConfig};
use cuda_std::f16;
use gpu_kernels::embedding;

#[test]
fn an_id_past_the_vocabulary_is_found() {
    let mut gpu = Gpu::new();
    let target = gpu.allocate::<f32>("out", 8).global_mut();
    let table = gpu.upload("table", &[f16::default(); 8]).global();
    let ids = gpu.upload("ids", &[1u32]).global();
    let config = LaunchConfig::new([1, 1, 1], embedding::THREADS);
    let findings = gpu
        .launch(&embedding::EMBED_F16, config, move || {
            embedding::embed_f16(target, table, ids, 8)
        })
        .unwrap_err();
    assert!(findings.contains(FindingKind::OutOfBounds));
}
