//! The assembly of a warpgroup's products, whose operands are too many to write.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Ident, LitInt, LitStr, Token};

/// 16 columns of a tile, in the units of 16 bytes in which a descriptor counts.
const STEP_UNITS: usize = 2;

/// 16 rows of a tile, in these units.
const STEP_ACROSS_UNITS: usize = 128;

/// Instructions for a tile.
const STEPS: usize = 4;

/// `(shape and types, registers of a thread, sums, a, b)`.
pub struct Call {
    shape: LitStr,
    registers: usize,
    sums: Ident,
    a: Ident,
    b: Ident,
}

impl Parse for Call {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let shape = input.parse()?;
        input.parse::<Token![,]>()?;
        let registers = input.parse::<LitInt>()?.base10_parse()?;
        let name = || {
            input.parse::<Token![,]>()?;
            input.call(Ident::parse_any)
        };
        Ok(Self {
            shape,
            registers,
            sums: name()?,
            a: name()?,
            b: name()?,
        })
    }
}

impl Call {
    /// The names of the sums as an instruction takes them.
    fn places(&self) -> String {
        let places: Vec<String> = (0..self.registers).map(|i| format!("{{d{i}}}")).collect();
        places.join(", ")
    }

    /// One block of assembly around the instructions of `steps`: were it several, the assembler
    /// would let each product wait for the one before.
    fn block(&self, steps: &[String], a: &TokenStream) -> TokenStream {
        let Self { sums, b, .. } = self;
        let names = (0..self.registers).map(|i| format_ident!("d{i}"));
        let indices = (0..self.registers).map(Literal::usize_unsuffixed);
        quote! {
            // SAFETY: the launch promises that the tiles are there; every thread of the warpgroup
            // executes it.
            unsafe {
                asm!(
                    "{{ .reg .pred add; .reg .b64 at, bt; setp.eq.b32 add, 0, 0;",
                    "wgmma.fence.sync.aligned;",
                    #(#steps,)*
                    "wgmma.commit_group.sync.aligned;",
                    "wgmma.wait_group.sync.aligned 0; }}",
                    #a
                    b = in(reg64) #b,
                    #(#names = inout(reg32) #sums[#indices],)*
                    options(nostack),
                );
            }
        }
    }
}

/// The product of two tiles.
pub fn multiply_tile(call: &Call) -> TokenStream {
    let (shape, places, a) = (call.shape.value(), call.places(), &call.a);
    let step = |step| {
        let units = step * STEP_UNITS;
        format!(
            "add.s64 at, {{a}}, {units}; add.s64 bt, {{b}}, {units}; \
             wgmma.mma_async.sync.aligned.{shape} {{{{{places}}}}}, at, bt, add, 1, 1, 0, 0;"
        )
    };
    let steps: Vec<String> = (0..STEPS).map(step).collect();
    call.block(&steps, &quote!(a = in(reg64) #a,))
}

/// The product of registers and a tile that lies across.
pub fn multiply_registers(call: &Call) -> TokenStream {
    let (shape, places, a) = (call.shape.value(), call.places(), &call.a);
    let step = |step| {
        let units = step * STEP_ACROSS_UNITS;
        format!(
            "add.s64 bt, {{b}}, {units}; \
             wgmma.mma_async.sync.aligned.{shape} {{{{{places}}}}}, \
             {{{{{{a{step}0}}, {{a{step}1}}, {{a{step}2}}, {{a{step}3}}}}}}, bt, add, 1, 1, 1;"
        )
    };
    let steps: Vec<String> = (0..STEPS).map(step).collect();
    let words = (0..STEPS).flat_map(|step| (0..4).map(move |word| (step, word)));
    let words = words.map(|(step, word)| {
        let name = format_ident!("a{step}{word}");
        let (step, word) = (
            Literal::usize_unsuffixed(step),
            Literal::usize_unsuffixed(word),
        );
        quote!(#name = in(reg32) #a[#step][#word],)
    });
    call.block(&steps, &quote!(#(#words)*))
}
