//! Faults of the disk, which need the seam inside the crate. What the public interface shows is in `tests/`.

mod faults;
mod faulty_disk;
