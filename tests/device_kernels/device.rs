//! A device as the kernels' tests see it: the calls of `cuda_std::emulation::Gpu`.

use std::marker::PhantomData;
use std::sync::OnceLock;

use cuda_std::emulation::arguments_of;
use cuda_std::{Element, Global, GlobalMut, Kernel, TensorMap};
use kcache::driver::{
    Context, Device, DeviceBuffer, DriverError, Launch, Module, PtxImage, Result, Stream,
};

pub use cuda_std::emulation::LaunchConfig;
pub use kcache::driver::DriverError as LaunchError;

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

/// Bytes before and after each buffer that no kernel may touch.
const MARGIN: usize = 256;

/// What memory holds that nothing wrote: NaN, as floats.
const UNWRITTEN: u8 = 0xff;

/// Whether sizes are tested that would take the emulation too long.
pub fn large() -> bool {
    std::env::var("KCACHE_TEST_SIZES").as_deref() != Ok("small")
}

/// Whether there are Hopper's matrix instructions: in the image that was loaded.
pub fn has_wgmma() -> bool {
    module().architecture().to_string().contains("90a")
}

/// The kernels, loaded once.
fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| load().unwrap_or_else(|e| panic!("{e}")))
}

fn load() -> Result<Module> {
    let wanted = std::env::var("KCACHE_TEST_IMAGE").ok();
    let images = IMAGES
        .iter()
        .filter(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name))
        .map(|(_, text)| PtxImage::new(text))
        .collect::<Result<Vec<_>>>()?;
    let context = Context::new(Device::open(0)?)?;
    let module = Module::load(&context, "kernels", &images)?;
    println!("image {}", module.architecture());
    Ok(module)
}

/// Memory of the device, and launches on it.
pub struct Gpu {
    module: &'static Module,
    stream: Stream,
    /// Each with its margins.
    memory: Vec<(String, DeviceBuffer<u8>)>,
}

/// A buffer of a device.
pub struct Buffer<T> {
    index: usize,
    address: u64,
    element: PhantomData<T>,
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Buffer<T> {}

impl<T: Element> Buffer<T> {
    pub fn global(self) -> Global<T> {
        Global::from_address(self.address)
    }

    pub fn global_mut(self) -> GlobalMut<T> {
        GlobalMut::from_address(self.address)
    }

    pub fn address(self) -> u64 {
        self.address
    }
}

impl Gpu {
    pub fn new() -> Self {
        let module = module();
        let stream = Stream::new(module.context()).unwrap_or_else(|e| panic!("{e}"));
        Self {
            module,
            stream,
            memory: Vec::new(),
        }
    }

    pub fn allocate<T: Element>(&mut self, name: &str, length: usize) -> Buffer<T> {
        let bytes = length * size_of::<T>() + 2 * MARGIN;
        let mut buffer = DeviceBuffer::new(self.module.context(), name, bytes).unwrap();
        let mut all = buffer.as_mut_slice();
        all.fill_bytes(UNWRITTEN, &self.stream).unwrap();
        let address = buffer.as_slice().address() + MARGIN as u64;
        self.memory.push((name.to_owned(), buffer));
        Buffer {
            index: self.memory.len() - 1,
            address,
            element: PhantomData,
        }
    }

    pub fn upload<T: Element>(&mut self, name: &str, elements: &[T]) -> Buffer<T> {
        let buffer = self.allocate(name, elements.len());
        self.write(buffer, 0, elements);
        buffer
    }

    pub fn write<T: Element>(&mut self, buffer: Buffer<T>, start: usize, elements: &[T]) {
        let bytes = size_of_val(elements);
        // SAFETY: elements have no padding.
        let source = unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), bytes) };
        let first = MARGIN + start * size_of::<T>();
        let (_, memory) = &mut self.memory[buffer.index];
        let mut target = memory.slice_mut(first..first + bytes).unwrap();
        target.copy_from_host(source, &self.stream).unwrap();
    }

    /// # Errors
    /// Where the driver refuses it.
    pub fn tensor_map<T: Element>(
        &mut self,
        buffer: Buffer<T>,
        size: [usize; 2],
        box_rows: u32,
    ) -> Result<TensorMap> {
        let (_, memory) = &self.memory[buffer.index];
        let matrix = memory.slice(MARGIN..memory.len() - MARGIN)?;
        let map = kcache::driver::TensorMap::new(matrix, size, box_rows)?;
        Ok(TensorMap::from_handle(bytemuck::cast(map)))
    }

    pub fn download<T: Element>(&mut self, buffer: Buffer<T>) -> Vec<T> {
        let bytes = self.memory[buffer.index].1.to_host(&self.stream).unwrap();
        let bytes = &bytes[MARGIN..bytes.len() - MARGIN];
        let mut elements = vec![T::default(); bytes.len() / size_of::<T>()];
        // SAFETY: any bytes are a value of an element, and there are as many.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                elements.as_mut_ptr().cast(),
                size_of_val(&elements[..]),
            );
        }
        elements
    }

    pub fn read<T: Element>(&mut self, buffer: Buffer<T>, start: usize, count: usize) -> Vec<T> {
        let elements = self.download(buffer).into_iter();
        elements.skip(start).take(count).collect()
    }

    /// # Errors
    /// Of the launch or of the kernel.
    pub fn launch(
        &mut self,
        kernel: &Kernel,
        config: LaunchConfig,
        body: impl Fn() + 'static,
    ) -> Result<(), DriverError> {
        let arguments = arguments_of(body);
        let arguments: Vec<Argument> = arguments.iter().map(|bytes| argument(bytes)).collect();
        let function = self.module.function(kernel.name)?;
        let mut launch =
            Launch::new(&function, config.grid, config.block).shared_bytes(config.dynamic_shared);
        for argument in &arguments {
            launch = match argument {
                Argument::Half(value) => launch.value(value),
                Argument::Word(value) => launch.value(value),
                Argument::Map(value) => launch.value(value),
            };
        }
        // SAFETY: a test's promise; the margins show where it is broken.
        unsafe { launch.run(&self.stream) }?;
        self.stream.synchronize()?;
        self.check_margins(kernel.name);
        Ok(())
    }

    fn check_margins(&self, kernel: &str) {
        for (name, buffer) in &self.memory {
            let end = buffer.len() - MARGIN;
            for range in [0..MARGIN, end..buffer.len()] {
                let mut bytes = [0; MARGIN];
                let margin = buffer.slice(range).unwrap();
                margin.copy_to_host(&mut bytes, &self.stream).unwrap();
                let touched = bytes.iter().any(|&byte| byte != UNWRITTEN);
                assert!(!touched, "{kernel} wrote outside of {name}");
            }
        }
    }
}

/// An argument, by its size.
enum Argument {
    Half(u32),
    Word(u64),
    Map([u64; 16]),
}

fn argument(bytes: &[u8]) -> Argument {
    match bytes.len() {
        4 => Argument::Half(bytemuck::pod_read_unaligned(bytes)),
        8 => Argument::Word(bytemuck::pod_read_unaligned(bytes)),
        _ => Argument::Map(bytemuck::pod_read_unaligned(bytes)),
    }
}
