//! Tensor cores.

use core::arch::asm;

use super::SharedAddress;

#[inline(always)]
pub fn load_matrix_x4<const TRANSPOSED: bool>(row: SharedAddress) -> [u32; 4] {
    let mut words = [0u32; 4];
    // SAFETY: the launch promises that every lane's address holds 16 bytes. Not `pure`: every
    // lane must execute it, wherever the result is used.
    unsafe {
        if TRANSPOSED {
            asm!(
                "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {{{}, {}, {}, {}}}, [{}];",
                out(reg32) words[0], out(reg32) words[1], out(reg32) words[2], out(reg32) words[3],
                in(reg32) row,
                options(readonly, nostack),
            );
        } else {
            asm!(
                "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{{}, {}, {}, {}}}, [{}];",
                out(reg32) words[0], out(reg32) words[1], out(reg32) words[2], out(reg32) words[3],
                in(reg32) row,
                options(readonly, nostack),
            );
        }
    }
    words
}

macro_rules! mma {
    ($name:ident, $element:literal) => {
        #[inline(always)]
        pub fn $name(d: &mut [f32; 4], a: [u32; 4], b: [u32; 2]) {
            // SAFETY: registers only. Not `pure`: every lane must execute it.
            unsafe {
                asm!(
                    concat!(
                        "mma.sync.aligned.m16n8k16.row.col.f32.", $element, ".", $element, ".f32 ",
                        "{{{d0}, {d1}, {d2}, {d3}}}, {{{a0}, {a1}, {a2}, {a3}}}, {{{b0}, {b1}}}, ",
                        "{{{d0}, {d1}, {d2}, {d3}}};",
                    ),
                    d0 = inout(reg32) d[0], d1 = inout(reg32) d[1],
                    d2 = inout(reg32) d[2], d3 = inout(reg32) d[3],
                    a0 = in(reg32) a[0], a1 = in(reg32) a[1],
                    a2 = in(reg32) a[2], a3 = in(reg32) a[3],
                    b0 = in(reg32) b[0], b1 = in(reg32) b[1],
                    options(nomem, nostack),
                );
            }
        }
    };
}

mma!(mma_m16n8k16_bf16, "bf16");
mma!(mma_m16n8k16_f16, "f16");
