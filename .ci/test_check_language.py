"""Tests of check_language.py: hits with their lines, and legitimate English without one."""

import unittest
from pathlib import Path

from check_language import Checker


def hits(suffix, source):
    checker = Checker()
    path = Path(f"sample{suffix}")
    {".rs": checker.rust, ".md": checker.markdown, ".yaml": checker.recipe}[suffix](path, source)
    return sorted({(line, words) for _, line, words, _ in checker.hits})


class Dialect(unittest.TestCase):
    def test_rust(self):
        source = '''//! What a block sees.
/// Whether it is done.
///
/// The weights are, bit
/// for bit, those of before.
pub struct Guidance {
    /// How it is done, see `bit for bit`.
    x: &'static str, // nobody reads it
}
fn f() -> &'static str { "the perceptron \\
    goes on" }
mod side_by_side;
'''
        self.assertEqual(
            hits(".rs", source),
            [
                (1, "What a block sees."),
                (4, "bit for bit"),
                (6, "Guidance"),
                (7, "How it is done, see"),
                (8, "nobody"),
                (10, "perceptron"),
                (11, "goes on"),
                (12, "side_by_side"),
            ],
        )

    def test_markdown(self):
        source = """# What it does

Prose. How it is
done. Why does it? What else?

| what | use |
|---|---|
| a | the truth |

```sh
goes on
```

<!-- language-check: off -->
goes on
<!-- language-check: on -->
It was rebuilt.
"""
        self.assertEqual(
            hits(".md", source),
            [
                (1, "What it does"),
                (3, "How it is done."),
                (6, "what"),
                (8, "truth"),
                (17, "rebuilt"),
            ],
        )

    def test_recipes(self):
        source = "# So many epochs.\n#   multimae demo goes on\nepochs: 3 # goes on\n"
        self.assertEqual(hits(".yaml", source), [(1, "So many")])


class LegitimateEnglish(unittest.TestCase):
    def test_rust(self):
        source = """//! The ground truth, which the factor of the zoom divides.
/// Returns whether the product of `a` and `b` is finite. How fast is it?
///
/// ```
/// let nobody = "goes on";
/// ```
fn ok<'a>(x: &'a str) -> char { '"' }
// Where the mask is missing, all pixels are valid; `somebody`: see https://example.org/truth
const TEXT: &str = r#"a "dot" product"#;
"""
        self.assertEqual(hits(".rs", source), [])

    def test_markdown(self):
        source = "# Install\n\nWhere NumPy is at hand, load `what goes on`. See [what](how/goes-on.md).\n"
        self.assertEqual(hits(".md", source), [])


if __name__ == "__main__":
    unittest.main()
