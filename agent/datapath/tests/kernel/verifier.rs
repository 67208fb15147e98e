use podwitness_datapath::Datapath;
use podwitness_wire::names;

use crate::{
    fixture::{folder, options},
    isolation::isolated,
};

/// The verifier gives up at a million; this says when a change makes the programs much harder to verify.
const MOST_INSTRUCTIONS: u32 = 200_000;

#[test]
fn the_kernel_takes_the_programs_and_verifies_them_with_ease() {
    isolated(|| {
        let before: Vec<u32> = ours().map(|program| program.id()).collect();
        let _datapath = Datapath::open(&options()).unwrap();
        let mut seen = Vec::new();
        for program in ours().filter(|program| !before.contains(&program.id())) {
            let name = program.name_as_str().unwrap().to_owned();
            let verified = program.verified_instruction_count().unwrap();
            println!("{name}: {verified} instructions verified, {} bytes translated", program.size_translated().unwrap());
            assert!(verified < MOST_INSTRUCTIONS, "{name}: the verifier walked {verified} instructions");
            seen.push(name);
        }
        for name in [names::PROGRAM_FROM_POD, names::PROGRAM_TO_POD, names::PROGRAM_SWEEP] {
            assert!(seen.iter().any(|seen| seen == name), "{name} was not loaded into {}: {seen:?}", folder());
        }
    });
}

/// The programs of this name in the kernel: tests that run at the same time have theirs.
fn ours() -> impl Iterator<Item = aya::programs::ProgramInfo> {
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.name_as_str().is_some_and(|name| name.starts_with("pw_")))
}
