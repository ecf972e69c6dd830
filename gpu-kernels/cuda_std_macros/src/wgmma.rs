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

/// How a product begins and ends.
#[derive(Clone, Copy)]
pub enum Mode {
    /// It adds to the sums, and is waited for.
    Whole,
    /// It replaces the sums, and is not waited for.
    Start,
    /// It adds to the sums; what is waited for are those that were started before.
    Add,
}

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
    /// One block of assembly around the instructions of `steps`: were it several, the assembler
    /// would let each product wait for the one before.
    fn block(&self, mode: Mode, steps: &[String], a: &TokenStream) -> TokenStream {
        let b = &self.b;
        let (sums, pending) = match mode {
            Mode::Whole => (operands(&self.sums, self.registers, "inout"), 0),
            Mode::Start => (operands(&self.sums, self.registers, "out"), 1),
            Mode::Add => (operands(&self.sums, self.registers, "inout"), 1),
        };
        let wait = format!("wgmma.wait_group.sync.aligned {pending}; }}}}");
        quote! {
            // SAFETY: the launch promises that the tiles are there; every thread of the warpgroup
            // executes it.
            unsafe {
                asm!(
                    "{{ .reg .pred add, set; .reg .b64 at, bt;",
                    "setp.eq.b32 add, 0, 0; setp.ne.b32 set, 0, 0;",
                    "wgmma.fence.sync.aligned;",
                    #(#steps,)*
                    "wgmma.commit_group.sync.aligned;",
                    #wait,
                    #a
                    b = in(reg64) #b,
                    #sums
                    options(nostack),
                );
            }
        }
    }
}

/// The names of so many sums, as an instruction takes them.
fn places(registers: usize) -> String {
    let places: Vec<String> = (0..registers).map(|i| format!("{{d{i}}}")).collect();
    places.join(", ")
}

/// The sums as operands of a direction, named as in [`places`].
fn operands(sums: &Ident, registers: usize, direction: &str) -> TokenStream {
    let direction = format_ident!("{direction}");
    let names = (0..registers).map(|i| format_ident!("d{i}"));
    let indices = (0..registers).map(Literal::usize_unsuffixed);
    quote!(#(#names = #direction(reg32) #sums[#indices],)*)
}

/// The product of two tiles.
pub fn multiply_tile(mode: Mode, call: &Call) -> TokenStream {
    let (shape, places, a) = (call.shape.value(), places(call.registers), &call.a);
    let step = |step| {
        let units = step * STEP_UNITS;
        let adds = match (mode, step) {
            (Mode::Start, 0) => "set",
            _ => "add",
        };
        format!(
            "add.s64 at, {{a}}, {units}; add.s64 bt, {{b}}, {units}; \
             wgmma.mma_async.sync.aligned.{shape} {{{{{places}}}}}, at, bt, {adds}, 1, 1, 0, 0;"
        )
    };
    let steps: Vec<String> = (0..STEPS).map(step).collect();
    call.block(mode, &steps, &quote!(a = in(reg64) #a,))
}

/// The product of registers and a tile that lies across.
pub fn multiply_registers(call: &Call) -> TokenStream {
    let (shape, places, a) = (call.shape.value(), places(call.registers), &call.a);
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
    call.block(Mode::Whole, &steps, &quote!(#(#words)*))
}

/// `(registers of a thread, sums)`.
pub struct Wait {
    registers: usize,
    sums: Ident,
}

impl Parse for Wait {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let registers = input.parse::<LitInt>()?.base10_parse()?;
        input.parse::<Token![,]>()?;
        let sums = input.call(Ident::parse_any)?;
        Ok(Self { registers, sums })
    }
}

/// The end of all products. The sums are its operands, so that nothing reads them before it.
pub fn wait_for_products(wait: &Wait) -> TokenStream {
    let sums = operands(&wait.sums, wait.registers, "inout");
    let text = format!(
        "wgmma.wait_group.sync.aligned 0; // {}",
        places(wait.registers)
    );
    quote! {
        // SAFETY: every thread of the warpgroup executes it.
        unsafe { asm!(#text, #sums options(nostack)) }
    }
}
