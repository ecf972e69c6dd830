//! The device, its kernels, and the time that launches take.

use cuda_std::Kernel;
use gpu_kernels::gemm_skinny::SkinnyShape;
use half::bf16;
use kcache::driver::{
    Context, Device, DeviceBuffer, DriverError, Event, Function, Graph, Module, PtxImage, Result,
    Stream,
};

/// What `build.rs` compiled, by name.
const IMAGES: [(&str, &str); 2] = [
    (
        "sm_80",
        include_str!(concat!(env!("OUT_DIR"), "/kernels.sm_80.ptx")),
    ),
    (
        "sm_90a",
        include_str!(concat!(env!("OUT_DIR"), "/kernels.sm_90a.ptx")),
    ),
];

/// Replays of a graph, of which the median counts.
const REPLAYS: usize = 21;

/// Microseconds that a graph takes at least: its own start and end, some seven, do not count in that.
const GRAPH_US: f64 = 3000.0;

/// Seconds of the same launches before their time is taken: a device that computes at its limit of
/// power slows down only after some time.
const WARM_UP_S: f64 = 0.2;

/// Bytes over which launches of a graph rotate, so that none finds its operands in the L2 cache.
pub const ROTATED_BYTES: usize = 512 << 20;

/// A device with the kernels loaded.
pub struct Bench {
    pub stream: Stream,
    module: Module,
    seed: u64,
}

impl Bench {
    /// Loads the image of that name, or the best one.
    pub fn new(device: Device, image: Option<&str>) -> Result<Self> {
        let wanted = IMAGES
            .iter()
            .filter(|(name, _)| image.is_none_or(|image| image == *name));
        let images: Vec<PtxImage<'_>> = wanted
            .map(|(_, text)| PtxImage::new(text))
            .collect::<Result<_>>()?;
        let context = Context::new(device)?;
        Ok(Self {
            module: Module::load(&context, "kernels", &images)?,
            stream: Stream::new(&context)?,
            seed: 1,
        })
    }

    pub fn context(&self) -> &Context {
        self.stream.context()
    }

    pub fn multiprocessors(&self) -> u32 {
        self.context().device().multiprocessors
    }

    /// The image that was loaded.
    pub fn image(&self) -> String {
        self.module.architecture().to_string()
    }

    /// Whether there are kernels for Hopper alone.
    pub fn has_wgmma(&self) -> bool {
        self.image() == "sm_90a"
    }

    pub fn function(&self, kernel: &cuda_std::Kernel) -> Result<Function> {
        self.module.function(kernel.name)
    }

    /// Numbers from -1 to 1 (SplitMix64, from seed 1 on).
    pub fn random(&mut self, count: usize) -> Vec<bf16> {
        let mut next = || {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bf16::from_f32((z >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
        };
        (0..count).map(|_| next()).collect()
    }

    pub fn upload<T: bytemuck::Pod>(&self, what: &str, host: &[T]) -> Result<DeviceBuffer<T>> {
        DeviceBuffer::from_host(&self.stream, what, host)
    }

    pub fn allocate<T: bytemuck::Pod>(&self, what: &str, len: usize) -> Result<DeviceBuffer<T>> {
        DeviceBuffer::zeroed(&self.stream, what, len)
    }

    /// Microseconds of one launch in a long graph, the median of several replays. `queue` queues the
    /// launch whose number it is given; those of `count` in a row have different operands.
    pub fn median_us(
        &self,
        count: usize,
        mut queue: impl FnMut(usize) -> Result<()>,
    ) -> Result<f64> {
        let few = self.replayed_us(count, [0, 2], &mut queue)?;
        let many = (GRAPH_US / few).ceil() as usize;
        let many = many.next_multiple_of(count);
        let warm_ups = (WARM_UP_S * 1e6 / (few * many as f64)).ceil() as usize;
        self.replayed_us(many, [warm_ups, REPLAYS], queue)
    }

    /// Microseconds of one of `count` launches in a graph: the median of so many replays, after so
    /// many others.
    fn replayed_us(
        &self,
        count: usize,
        [warm_ups, replays]: [usize; 2],
        mut queue: impl FnMut(usize) -> Result<()>,
    ) -> Result<f64> {
        let mut graph = Graph::capture(&self.stream, || (0..count).try_for_each(&mut queue))?;
        let (start, end) = (
            Event::timing(self.context())?,
            Event::timing(self.context())?,
        );
        let mut times = Vec::with_capacity(warm_ups + replays);
        for _ in 0..warm_ups + replays {
            self.stream.record(&start)?;
            // SAFETY: the buffers of the launches outlive this call.
            unsafe { graph.launch(&self.stream) }?;
            self.stream.record(&end)?;
            end.synchronize()?;
            times.push(f64::from(end.milliseconds_since(&start)?) * 1e3 / count as f64);
        }
        let times = &mut times[warm_ups..];
        times.sort_by(f64::total_cmp);
        Ok(times[replays / 2])
    }
}

/// How many sets of operands of so many bytes launches rotate over.
pub fn sets(bytes: usize) -> usize {
    (ROTATED_BYTES / bytes.max(1)).clamp(1, 64)
}

/// Of each form of kernel the one for the fewest rows that takes `m` rows of `k` elements; `kernels`
/// are in the order of their rows.
pub fn of_each_form(
    mut kernels: Vec<(SkinnyShape, &'static Kernel)>,
    [m, k]: [usize; 2],
) -> Vec<(SkinnyShape, &'static Kernel)> {
    kernels.retain(|(shape, _)| shape.takes(m, k));
    kernels.dedup_by_key(|(shape, _)| (shape.threads, shape.box_rows));
    kernels
}

/// A result that differs from what it should be.
pub fn wrong(what: &str, got: f64, want: f64) -> DriverError {
    DriverError::InvalidArgument(format!("{what} gave {got}, which should be {want}"))
}
