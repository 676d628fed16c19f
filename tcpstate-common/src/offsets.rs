//! Where the fields that the kernel program reads lie in the running kernel.
