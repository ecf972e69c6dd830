//! The `#[kernel]` attribute: one source for the device and for the host emulation.

mod wgmma;

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, Expr, FnArg, Ident, ItemFn, Pat, ReturnType, Token, Type, parse_macro_input};

use wgmma::Mode;

/// The launch bounds written in `#[kernel(max_threads = …, min_blocks = …)]`.
struct LaunchBounds {
    max_threads: Expr,
    min_blocks: Expr,
}

impl Parse for LaunchBounds {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let mut max_threads = None;
        let mut min_blocks = None;
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            let slot = match key.to_string().as_str() {
                "max_threads" => &mut max_threads,
                "min_blocks" => &mut min_blocks,
                _ => return Err(Error::new(key.span(), "expected max_threads or min_blocks")),
            };
            if slot.replace(input.parse()?).is_some() {
                return Err(Error::new(key.span(), "given twice"));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let max_threads = max_threads.ok_or_else(|| input.error("max_threads is required"))?;
        let min_blocks = min_blocks.unwrap_or_else(|| syn::parse_quote!(1));
        Ok(Self {
            max_threads,
            min_blocks,
        })
    }
}

/// Makes a function a kernel.
///
/// `#[kernel(max_threads = 256)]`, optionally with `min_blocks = 2`: the most threads a block is
/// launched with, and the blocks that should fit one multiprocessor at once. Both are constant
/// expressions; the PTX carries them as `.maxntid` and `.minnctapersm`.
///
/// On the device the function becomes a PTX entry of its own name. On the host it stays a function,
/// to be run by `cuda_std::emulation`, or to be asked for its arguments. Beside it stands a constant of type
/// `cuda_std::Kernel` named after it in upper case.
#[proc_macro_attribute]
pub fn kernel(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let bounds = parse_macro_input!(arguments as LaunchBounds);
    let function = parse_macro_input!(item as ItemFn);
    expand(bounds, function)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// The product of two tiles by a warpgroup, as assembly: for `cuda_std` alone.
///
/// `multiply_tile!("m64n128k16.f32.bf16.bf16", 64, sums, a, b)`: shape and types, registers of a
/// thread, the array of sums, the descriptors of both tiles.
#[proc_macro]
pub fn multiply_tile(call: TokenStream) -> TokenStream {
    wgmma::multiply_tile(Mode::Whole, &parse_macro_input!(call as wgmma::Call)).into()
}

/// Starts the product of two tiles, whose sums take the place of those there are: as
/// [`multiply_tile!`].
#[proc_macro]
pub fn start_tile(call: TokenStream) -> TokenStream {
    wgmma::multiply_tile(Mode::Start, &parse_macro_input!(call as wgmma::Call)).into()
}

/// Starts the product of two tiles, and waits for those started before: as [`multiply_tile!`].
#[proc_macro]
pub fn add_tile(call: TokenStream) -> TokenStream {
    wgmma::multiply_tile(Mode::Add, &parse_macro_input!(call as wgmma::Call)).into()
}

/// Waits for all products: `wait_for_products!(64, sums)`, registers of a thread and the array of
/// sums.
#[proc_macro]
pub fn wait_for_products(wait: TokenStream) -> TokenStream {
    wgmma::wait_for_products(&parse_macro_input!(wait as wgmma::Wait)).into()
}

/// The product of registers and a tile that lies across, as assembly: as [`multiply_tile!`], `a`
/// an array `[[u32; 4]; 4]`.
#[proc_macro]
pub fn multiply_registers(call: TokenStream) -> TokenStream {
    wgmma::multiply_registers(&parse_macro_input!(call as wgmma::Call)).into()
}

fn expand(bounds: LaunchBounds, function: ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let signature = &function.sig;
    if !matches!(signature.output, ReturnType::Default) {
        return Err(Error::new(
            signature.output.span(),
            "a kernel returns nothing",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(
            signature.generics.span(),
            "a kernel has no type parameters",
        ));
    }
    let LaunchBounds {
        max_threads,
        min_blocks,
    } = bounds;
    let ItemFn {
        attrs, vis, block, ..
    } = &function;
    let (name, inputs) = (&signature.ident, &signature.inputs);
    let constant = format_ident!("{}", name.to_string().to_uppercase());
    let constant_doc = format!("Name and launch bounds of [`{name}`].");
    let parameters = inputs.iter().map(parameter);
    let (arguments, types): (Vec<_>, Vec<_>) = parameters
        .collect::<syn::Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    let places = 0..arguments.len();
    let parameters = || arguments.iter().zip(&types).enumerate();
    let device_inputs = parameters().map(|(_, (argument, ty))| {
        if is_tensor_map(ty) {
            quote!(_: ::cuda_std::TensorMapBytes)
        } else {
            quote!(#argument: #ty)
        }
    });
    let handles = parameters()
        .filter(|(_, (_, ty))| is_tensor_map(ty))
        .map(|(place, (argument, _))| handle(argument, &format!("{name}_param_{place}")));
    Ok(quote! {
        #[doc = #constant_doc]
        #vis const #constant: ::cuda_std::Kernel = ::cuda_std::Kernel {
            name: ::core::stringify!(#name),
            max_threads: #max_threads,
            min_blocks: #min_blocks,
            #[cfg(not(target_arch = "nvptx64"))]
            parameters: &[#(<#types as ::cuda_std::emulation::Argument>::SIZE),*],
            #[cfg(not(target_arch = "nvptx64"))]
            call: |arguments| #name(
                #(::cuda_std::emulation::Argument::from_bytes(&arguments[#places])),*
            ),
        };

        #(#attrs)*
        #[allow(clippy::too_many_arguments)]
        #[cfg(not(target_arch = "nvptx64"))]
        #vis fn #name(#inputs) {
            let recorded = ::cuda_std::emulation::record(|| {
                ::std::vec![#(::cuda_std::emulation::Argument::to_bytes(#arguments)),*]
            });
            if recorded {
                return;
            }
            #block
        }

        #(#attrs)*
        #[allow(clippy::too_many_arguments)]
        #[cfg(target_arch = "nvptx64")]
        #[unsafe(no_mangle)]
        #vis extern "ptx-kernel" fn #name(#(#device_inputs),*) {
            // A comment in the PTX, which the compile step turns into directives.
            // SAFETY: the assembly is a comment.
            unsafe {
                ::core::arch::asm!(
                    "// launch_bounds {0} {1}",
                    const #max_threads,
                    const #min_blocks,
                    options(nomem, nostack, preserves_flags),
                );
            }
            #(#handles)*
            #block
        }
    })
}

/// Name and type of a kernel's parameter.
fn parameter(input: &FnArg) -> syn::Result<(&Ident, &Type)> {
    match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(pattern) => Ok((&pattern.ident, &*typed.ty)),
            other => Err(Error::new(other.span(), "a kernel's parameter has a name")),
        },
        FnArg::Receiver(other) => Err(Error::new(other.span(), "a kernel is no method")),
    }
}

/// Whether a parameter is a `TensorMap`, which stays where the launch has put it.
fn is_tensor_map(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path
        .segments
        .last()
        .is_some_and(|last| last.ident == "TensorMap")
}

/// Declares a `TensorMap` by the address of its parameter, which the compiler names `symbol`.
fn handle(argument: &Ident, symbol: &str) -> proc_macro2::TokenStream {
    let assembly =
        format!("{{{{ .reg .b64 space; mov.b64 space, {symbol}; cvta.param.u64 {{}}, space; }}}}");
    quote! {
        let #argument = {
            let address: u64;
            // SAFETY: reads the address of this kernel's parameter.
            unsafe {
                ::core::arch::asm!(
                    #assembly,
                    out(reg64) address,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            ::cuda_std::TensorMap::from_handle(address)
        };
    }
}
