//! Device kernels of kcache.
