//! The kernel program's use of the stack, counted as Linux 5.10 does: 512 bytes
//! for a program and all that it calls, each function's share rounded up to 32.
//! From 6.8 on a kernel with a JIT rounds to 16, so that a program which older
//! ones refuse can load on the machine at hand.

use std::collections::BTreeMap;
use std::path::Path;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SymbolKind};

/// `MAX_BPF_STACK`.
const MOST: u32 = 512;
/// As `check_max_stack_depth` of Linux 5.10 rounds.
const ROUNDED_TO: u32 = 32;
const FRAME: u8 = 10;

/// A function by its section and its place in it.
type Place = (usize, u64);

struct Function {
    name: String,
    stack: u32,
    calls: Vec<Place>,
}

#[test]
fn every_program_fits_the_stack_of_linux_5_10() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf/tcpstate.bpf.o");
    let bytes = std::fs::read(path).unwrap();
    let functions = functions(&object::File::parse(&*bytes).unwrap());

    let whole: Vec<(&str, u32)> = functions
        .iter()
        .map(|(place, function)| (&*function.name, deepest(*place, &functions)))
        .collect();

    let of = |name: &str| whole.iter().find(|(other, _)| *other == name).unwrap().1;
    assert!(
        of("failed_call") > of("walk_fill") && of("walk_fill") > ROUNDED_TO,
        "calls are not followed: {whole:?}"
    );
    let too_deep: Vec<_> = whole.iter().filter(|(_, bytes)| *bytes > MOST).collect();
    assert!(too_deep.is_empty(), "over {MOST} bytes: {too_deep:?}");
}

fn deepest(place: Place, functions: &BTreeMap<Place, Function>) -> u32 {
    let function = &functions[&place];
    let below = function
        .calls
        .iter()
        .map(|callee| deepest(*callee, functions))
        .max();
    function.stack.max(1).next_multiple_of(ROUNDED_TO) + below.unwrap_or(0)
}

fn functions(file: &object::File<'_>) -> BTreeMap<Place, Function> {
    file.symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
        .map(|symbol| {
            let index = symbol.section_index().unwrap();
            let section = file.section_by_index(index).unwrap();
            let start = symbol.address();
            let code = &section.data().unwrap()[usize::try_from(start).unwrap()..]
                [..usize::try_from(symbol.size()).unwrap()];
            let called: BTreeMap<u64, Place> = section
                .relocations()
                .filter_map(|(at, relocation)| Some((at, callee(file, relocation.target())?)))
                .collect();
            let function = Function {
                name: symbol.name().unwrap().to_owned(),
                stack: stack(code),
                calls: calls(code, start, index.0, &called),
            };
            ((index.0, start), function)
        })
        .collect()
}

fn callee(file: &object::File<'_>, target: RelocationTarget) -> Option<Place> {
    let RelocationTarget::Symbol(index) = target else {
        return None;
    };
    let symbol = file.symbol_by_index(index).ok()?;
    Some((symbol.section_index()?.0, symbol.address()))
}

/// Calls of other functions of the object.
fn calls(code: &[u8], start: u64, section: usize, called: &BTreeMap<u64, Place>) -> Vec<Place> {
    const CALL: u8 = 0x85;
    const OF_THIS_OBJECT: u8 = 1;
    (start..)
        .step_by(8)
        .zip(code.chunks_exact(8))
        .filter(|(_, word)| word[0] == CALL && word[1] >> 4 == OF_THIS_OBJECT)
        .map(|(at, word)| {
            // Through a relocation to a section the target is relative to it.
            let relative = (i64::from(imm(word)) + 1) * 8;
            let (section, base) = called.get(&at).copied().unwrap_or((section, at));
            (section, base.checked_add_signed(relative).unwrap())
        })
        .collect()
}

/// Lowest byte of the frame that the code touches or takes the address of.
fn stack(code: &[u8]) -> u32 {
    const LOAD: u8 = 1;
    const STORES: [u8; 2] = [2, 3];
    const MOVE: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut lowest = 0;
    // Registers that are copies of the frame pointer.
    let mut copies = [false; 16];
    for word in code.chunks_exact(8) {
        let (to, from) = (word[1] & 15, word[1] >> 4);
        let class = word[0] & 7;
        if (class == LOAD && from == FRAME) || (STORES.contains(&class) && to == FRAME) {
            lowest = lowest.min(i32::from(i16::from_le_bytes([word[2], word[3]])));
        }
        if word[0] == ADD && copies[usize::from(to)] {
            lowest = lowest.min(imm(word));
        }
        if !STORES.contains(&class) {
            copies[usize::from(to)] = word[0] == MOVE && from == FRAME;
        }
    }
    lowest.unsigned_abs()
}

fn imm(word: &[u8]) -> i32 {
    i32::from_le_bytes([word[4], word[5], word[6], word[7]])
}
