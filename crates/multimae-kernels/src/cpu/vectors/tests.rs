use proptest::prelude::*;

use super::super::epilogue::Epilogue;
use super::super::gelu;
use super::super::matrix::Matrix;
use super::super::testing::{assert_close, product, values};
use super::*;

/// `rows x columns` in a slice with some gap behind every row, transposed or not.
fn shape(rows: usize, columns: usize, gap: usize, transposed: bool) -> Shape {
    if transposed {
        Shape::rows(columns, rows, rows + gap).transposed()
    } else {
        Shape::rows(rows, columns, columns + gap)
    }
}

/// Computes a GEMM into a slice that holds every row of the result.
fn compute(unit: Unit, (into, shape): (&mut [f32], Shape), gemm: Gemm<'_>, threads: bool) {
    let (a, a_shape) = gemm.a;
    assert!(shape.extent() <= into.len() && a_shape.extent() <= a.len());
    assert_eq!((a_shape.rows, gemm.b.columns()), (shape.rows, shape.columns));
    // SAFETY: every element of the result, whose rows lie apart, and of the operands lies in its
    // slice; `into` is borrowed mutably and initialised.
    #[allow(unsafe_code)]
    unsafe {
        multiply_by(unit, (into.as_mut_ptr(), shape), gemm, threads);
    }
}

fn plain_gemm<'a>(a: Matrix<'a>, b: Matrix<'a>) -> Gemm<'a> {
    Gemm::new(a, Right::Matrix(b))
}

proptest! {
    #[test]
    fn agrees_with_sums_in_64_bits(m in 1usize..70, n in 1usize..90, k in 1usize..60,
                                   gap in 0usize..3, transposed: (bool, bool), replace: bool,
                                   packed: bool, seed in 0u64..9) {
        let a_shape = shape(m, k, gap, transposed.0);
        let b_shape = shape(k, n, gap, transposed.1);
        let (a, b) = (values(seed, a_shape.extent()), values(seed + 1, b_shape.extent()));
        let (a, b) = ((a.as_slice(), a_shape), (b.as_slice(), b_shape));
        let (bias, before) = (values(seed + 2, n), if replace { 0.0 } else { 1.0 });
        let expected: Vec<f32> = (product(a, b).iter().zip(bias.iter().cycle()))
            .map(|(sum, bias)| gelu::forward(&[before + 2.0 * sum + bias])[0])
            .collect();
        for unit in Unit::all() {
            let prepared = Packed::by(unit, b);
            let gemm = Gemm {
                how: if replace { Into::Replace } else { Into::Add },
                scale: 2.0,
                a,
                b: if packed { Right::Packed(&prepared) } else { Right::Matrix(b) },
                activated: None,
                epilogue: Epilogue { bias: Some(&bias), gelu: true, ..Epilogue::default() },
            };
            let mut into = vec![1.0; m * (n + gap)];
            compute(unit, (&mut into, Shape::rows(m, n, n + gap)), gemm, seed % 2 == 0);
            for (got, expected) in into.chunks(n + gap).zip(expected.chunks(n)) {
                assert_close(&got[..n], expected, 1e-5);
                prop_assert!(got[n..].iter().all(|&between| between == 1.0), "{unit:?}");
            }
        }
    }
}

#[test]
fn either_operand_goes_through_the_gelu() {
    for (m, n, k) in [(3, 5, 7), (70, 100, 400)] {
        let (a, b) = (values(1, m * k), values(2, k * n));
        let (a_shape, b_shape) = (Shape::rows(m, k, k), Shape::rows(k, n, n));
        let (activated_a, activated_b) = (gelu::forward(&a), gelu::forward(&b));
        for (side, expected) in [
            (Side::Left, product((&activated_a, a_shape), (&b, b_shape))),
            (Side::Right, product((&a, a_shape), (&activated_b, b_shape))),
        ] {
            for unit in Unit::all() {
                let mut into = vec![f32::NAN; m * n];
                let gemm = plain_gemm((&a, a_shape), (&b, b_shape));
                let gemm = Gemm { activated: Some(side), ..gemm };
                compute(unit, (&mut into, Shape::rows(m, n, n)), gemm, true);
                assert_close(&into, &expected, 2e-6);
            }
        }
    }
}

/// Sizes that are cut along every axis, with last parts of their own size, and several groups of parts.
#[test]
fn bits_depend_neither_on_threads_nor_on_the_kernel_nor_on_packing() {
    let pools = [2, 3, 8]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for (m, n, k) in [
        (130, 3200, 40),
        (333, 100, 1000),
        (5, 700, 900),
        (600, 33, 385),
        (5, 1607, 1153),
        (90, 1607, 1153),
    ] {
        let (a, b) = (values(1, m * k), values(2, k * n));
        let (a, b) = ((a.as_slice(), Shape::rows(m, k, k)), (b.as_slice(), Shape::rows(k, n, n)));
        let residual = values(3, m * n);
        let epilogue = Epilogue { residual: Some(&residual), ..Epilogue::default() };
        let result = |unit: Unit, b: Right<'_, Packed>, threads: bool| {
            let mut into = vec![1.0; m * n];
            let none = (&[] as &[f32], Shape::rows(0, 0, 0));
            let gemm = Gemm { how: Into::Add, scale: 2.0, b, epilogue, ..plain_gemm(a, none) };
            compute(unit, (&mut into, Shape::rows(m, n, n)), gemm, threads);
            into
        };
        let expected = result(Unit::Portable, Right::Matrix(b), false);
        let exact = product(a, b);
        let exact = exact.iter().zip(&residual).map(|(sum, residual)| 1.0 + 2.0 * sum + residual);
        assert_close(&expected, &exact.collect::<Vec<f32>>(), 2e-6);
        for unit in Unit::all() {
            let packed = Packed::by(unit, b);
            for b in [Right::Matrix(b), Right::Packed(&packed)] {
                assert!(result(unit, b, false) == expected, "{unit:?}");
                for pool in &pools {
                    let got = pool.install(|| result(unit, b, true));
                    assert!(got == expected, "{unit:?} {}", pool.current_num_threads());
                }
            }
        }
    }
}

/// Values of which every one is different, so that a wrong place would show.
#[test]
fn packing_by_vectors_is_packing_by_values() {
    fn panel<K: Kernel>(matrix: Matrix<'_>, lanes: (usize, usize), left: bool) -> Vec<f32> {
        let (lane_count, depth) = if left { (K::ROWS, 21) } else { (K::COLUMNS, 21) };
        let mut panel = vec![f32::NAN; lane_count * depth + kernel::SPILL];
        if left {
            K::pack_left(matrix, lanes, (2, depth), &mut panel);
        } else {
            K::pack_right(matrix, lanes, (2, depth), &mut panel[..lane_count * depth]);
        }
        panel.truncate(lane_count * depth);
        panel
    }
    fn check<K: Kernel>() {
        for transposed in [false, true] {
            let shape = shape(80, 25, 3, transposed);
            let all: Vec<f32> = (0..shape.extent()).map(|value| value as f32).collect();
            for (left, lanes) in [(true, K::ROWS), (false, K::COLUMNS)] {
                for count in [1, lanes / 2, lanes] {
                    let matrix = (all.as_slice(), shape);
                    let got = panel::<K>(matrix, (7, count), left);
                    for (index, &got) in got.iter().enumerate() {
                        let (inner, lane) = (2 + index / lanes, index % lanes);
                        let at = (7 + lane) * shape.row_stride + inner * shape.column_stride;
                        let expected = if lane < count { at as f32 } else { 0.0 };
                        assert_eq!(got, expected, "{transposed} {left} {count} {index}");
                    }
                }
            }
        }
    }
    check::<portable::Portable>();
    #[cfg(target_arch = "aarch64")]
    if neon::is_supported() {
        check::<neon::Neon>();
    }
    #[cfg(target_arch = "x86_64")]
    {
        if avx2::is_supported() {
            check::<avx2::Avx2>();
        }
        if avx512::is_supported() {
            check::<avx512::Avx512>();
        }
    }
}

#[test]
fn parts_cover_the_operand_once() {
    for (inner, columns) in [(1, 1), (384, 3072), (385, 3073), (1000, 7000), (3072, 768)] {
        let (mut seen, mut offset) = (0, 0);
        for group in Parts::of::<portable::Portable>(inner, columns).groups() {
            for part in &group {
                assert!(part.depth > 0 && part.columns > 0 && part.column == group[0].column);
                assert_eq!(part.is_last, part.inner + part.depth == inner);
                assert_eq!(part.offset::<portable::Portable>(), offset);
                offset += part.len::<portable::Portable>();
                seen += part.depth * part.columns;
            }
        }
        assert_eq!(seen, inner * columns);
    }
}

#[test]
fn items_of_work_cover_the_panels_and_are_even() {
    for rows in (1..40).chain([57, 114, 400]) {
        for columns in [1, 3, 24, 96] {
            for threads in [1, 2, 3, 8, 64] {
                let Grid { blocks, shares } = Grid::new((rows, columns), (FEWEST, 18), threads);
                assert!(blocks * shares >= threads.min(rows / 6), "threads without work");
                assert!((1..=rows).contains(&blocks) && (1..=columns).contains(&shares));
                for (panels, parts) in [(rows, blocks), (columns, shares)] {
                    let ends = (0..parts).map(|index| Grid::part(panels, index, parts));
                    let mut next = 0;
                    for part in ends {
                        assert_eq!(part.start, next);
                        assert!((panels / parts..=panels.div_ceil(parts)).contains(&part.len()));
                        assert!(!part.is_empty());
                        next = part.end;
                    }
                    assert_eq!(next, panels);
                }
                assert!(rows.div_ceil(blocks) <= 18, "a block leaves the cache");
            }
        }
    }
}

#[test]
#[should_panic(expected = "are needed")]
fn an_operand_packed_in_another_size_is_refused() {
    let b = values(1, 12);
    let packed = Packed::by(Unit::Portable, (&b, Shape::rows(4, 3, 3)));
    let gemm = Gemm {
        b: Right::Packed(&packed),
        ..plain_gemm((&b[..10], Shape::rows(2, 5, 5)), (&[], Shape::rows(0, 0, 0)))
    };
    compute(Unit::Portable, (&mut [0.0; 6], Shape::rows(2, 3, 3)), gemm, false);
}
