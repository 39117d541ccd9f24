//! Prints one line: proof that it was compiled, linked and run.

mod words;

fn main() {
    println!("{}", words::both().join(" "));
}
