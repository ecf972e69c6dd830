//! The assembly of a warpgroup's product, whose operands are too many to write.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Ident, LitInt, LitStr, Token};

/// Columns of a tile that one instruction takes, in the tile descriptor's units of 16 bytes.
const STEP_UNITS: usize = 2;

/// Instructions for the 64 columns of a tile.
const STEPS: usize = 4;

/// `multiply_tile!(shape and types, registers of a thread, sums, a, b)`.
pub struct MultiplyTile {
    shape: LitStr,
    registers: usize,
    sums: Ident,
    a: Ident,
    b: Ident,
}

impl Parse for MultiplyTile {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let shape = input.parse()?;
        input.parse::<Token![,]>()?;
        let registers = input.parse::<LitInt>()?.base10_parse()?;
        let name = || {
            input.parse::<Token![,]>()?;
            input.call(<Ident as syn::ext::IdentExt>::parse_any)
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

/// One block of assembly: were it several, the assembler would let each product wait for the one
/// before.
pub fn expand(call: &MultiplyTile) -> TokenStream {
    let MultiplyTile {
        shape,
        registers,
        sums,
        a,
        b,
    } = call;
    let names: Vec<Ident> = (0..*registers).map(|i| format_ident!("d{i}")).collect();
    let places: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
    let places = places.join(", ");
    let steps = (0..STEPS).map(|step| {
        let units = step * STEP_UNITS;
        format!(
            "add.s64 at, {{a}}, {units}; add.s64 bt, {{b}}, {units}; \
             wgmma.mma_async.sync.aligned.{} {{{{{places}}}}}, at, bt, add, 1, 1, 0, 0;",
            shape.value(),
        )
    });
    let indices = (0..*registers).map(Literal::usize_unsuffixed);
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
                a = in(reg64) #a, b = in(reg64) #b,
                #(#names = inout(reg32) #sums[#indices],)*
                options(nostack),
            );
        }
    }
}
