use aya::programs::ProgramInfo;
use podwitness_wire::names;

use crate::{
    fixture::{Kernel, folder},
    isolation::isolated,
};

/// The verifier gives up at a million; this says when a change makes the programs much harder to verify.
const MOST_INSTRUCTIONS: u32 = 200_000;

#[test]
fn the_kernel_takes_the_programs_and_verifies_them_with_ease() {
    isolated(|| {
        let mut kernel = Kernel::new();
        let sweep = ProgramInfo::from_pin(format!("{}/{}", folder(), names::PROGRAM_SWEEP)).unwrap();
        for (name, info) in [
            (names::PROGRAM_FROM_POD, kernel.program(names::PROGRAM_FROM_POD).info().unwrap()),
            (names::PROGRAM_TO_POD, kernel.program(names::PROGRAM_TO_POD).info().unwrap()),
            (names::PROGRAM_SWEEP, sweep),
        ] {
            let (verified, bytes) = (info.verified_instruction_count().unwrap(), info.size_translated().unwrap());
            println!("{name}: the verifier walked {verified} instructions; {bytes} bytes translated");
            assert_eq!(info.name_as_str(), Some(name));
            assert!(verified < MOST_INSTRUCTIONS, "{name}: the verifier walked {verified} instructions");
        }
    });
}
