//! Every kernel that this processor can run, against sums in f64.

#![expect(clippy::float_cmp, reason = "what is compared is exact")]

use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

trait FromF32: Stored {
    fn narrow(value: f32) -> Self;
}

impl FromF32 for f32 {
    fn narrow(value: f32) -> Self {
        value
    }
}

impl FromF32 for bf16 {
    fn narrow(value: f32) -> Self {
        bf16::from_f32(value)
    }
}

impl FromF32 for f16 {
    fn narrow(value: f32) -> Self {
        f16::from_f32(value)
    }
}

fn random<E: FromF32>(count: usize, rng: &mut ChaCha8Rng) -> Vec<E> {
    (0..count).map(|_| E::narrow(rng.random_range(-1.0..1.0))).collect()
}

fn at<E: Stored>(matrix: &Matrix<'_, E>, row: usize, column: usize) -> f64 {
    let (line, place) = match matrix.order {
        Order::Rows => (row, column),
        Order::Columns => (column, row),
    };
    f64::from(matrix.values[line * matrix.stride + place / E::VALUES].widen(place % E::VALUES))
}

/// Whether the left side is rounded to bf16 before it is multiplied, and the right side.
fn rounds<E: Stored>(machine: Machine, rows: usize, orders: (Order, Order)) -> (bool, bool) {
    match orders {
        (Order::Rows, Order::Columns) if rows <= FEW_ROWS => {
            (machine.dots_bf16::<E>(), machine.dots_bf16::<E>() && E::VALUES == 1)
        }
        (Order::Rows, Order::Rows) if rows <= weighted::ROWS => (false, false),
        _ => (machine.multiplies_bf16::<E>(), machine.multiplies_bf16::<E>()),
    }
}

/// Whether products of f32 values are those of two bf16 values each.
fn splits(machine: Machine) -> bool {
    match machine.registers {
        #[cfg(target_arch = "x86_64")]
        Registers::Amx => true,
        _ => false,
    }
}

/// Part of a value that a sum of two bf16 ones may lose: they keep at least 15 bits.
const SPLIT_LOSS: f32 = 3.1e-5;

/// A matrix that begins at an odd address and whose lines have a gap between them.
fn matrix<E: Stored>(values: &[E], (rows, columns): (usize, usize), order: Order) -> Matrix<'_, E> {
    assert_eq!(values.len(), units::<E>((rows, columns), order));
    let length = if order == Order::Rows { columns } else { rows };
    Matrix { values: &values[1..], stride: length / E::VALUES + 3, order }
}

/// Units that [`matrix`] takes, and no more: whoever reads behind them is found where memory is watched.
fn units<E: Stored>((rows, columns): (usize, usize), order: Order) -> usize {
    let (lines, length) = if order == Order::Rows { (rows, columns) } else { (columns, rows) };
    let length = length / E::VALUES;
    1 + (lines - 1) * (length + 3) + length
}

fn check<E: Stored>(
    machine: Machine,
    (rows, inner, columns): (usize, usize, usize),
    orders: (Order, Order),
    random_units: impl Fn(usize, &mut ChaCha8Rng) -> Vec<E>,
) {
    let mut rng = ChaCha8Rng::seed_from_u64((rows * 1_000_003 + inner * 1009 + columns) as u64);
    let left = random::<f32>(units::<f32>((rows, inner), orders.0), &mut rng);
    let right = random_units(units::<E>((inner, columns), orders.1), &mut rng);
    let left = matrix(&left, (rows, inner), orders.0);
    let right = matrix(&right, (inner, columns), orders.1);
    let bias = random::<f32>(columns, &mut rng);
    let stride = columns + 5;
    let before = random::<f32>(rows * stride + 1, &mut rng);
    // A second product beside the first: none, a thin one, one that is too long for the same pass.
    let mut beside = |inner: usize| {
        let left = random::<f32>(units::<f32>((rows, inner), orders.0), &mut rng);
        let right = random::<f32>(units::<f32>((inner, columns), orders.1), &mut rng);
        (inner, left, right)
    };
    let (thin, thick) = (beside(13), beside(70));
    let rounds = rounds::<E>(machine, rows, orders);
    let rounded = |rounds: bool, value: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "it was an f32")]
        if rounds { f64::from(bf16::from_f32(value as f32)) } else { value }
    };
    let dotted = orders == ORDERS[0] && rows <= FEW_ROWS || orders == ORDERS[1] && rows <= weighted::ROWS;
    let near = if splits(machine) && !dotted { f64::from(SPLIT_LOSS) } else { 1e-6 };
    let starts = [Accumulate::Zero, Accumulate::Target, Accumulate::Bias(&bias)];
    let cases = [(starts[0], None), (starts[1], None), (starts[2], None)];
    let cases = cases.into_iter().chain([(starts[1], Some(&thin)), (starts[2], Some(&thick))]);
    for (start, beside) in cases {
        let extra = beside.map(|(inner, left, right)| AddedProduct {
            inner: *inner,
            left: matrix(left, (rows, *inner), orders.0),
            right: matrix(right, (*inner, columns), orders.1),
        });
        let mut target = before.clone();
        product_on(machine, (rows, inner, columns), (&mut target, stride), left, right, extra, start);
        for (index, (found, before)) in target.iter().zip(&before).enumerate() {
            let (row, column) = (index / stride, index % stride);
            if row >= rows || column >= columns {
                assert_eq!(found.to_bits(), before.to_bits(), "{machine:?} wrote outside the result");
                continue;
            }
            let first = match start {
                Accumulate::Zero => 0.0,
                Accumulate::Target => f64::from(*before),
                Accumulate::Bias(bias) => f64::from(bias[column]),
            };
            let terms = (0..inner)
                .map(|p| rounded(rounds.0, at(&left, row, p)) * rounded(rounds.1, at(&right, p, column)));
            let beside = extra.iter().flat_map(|AddedProduct { inner, left, right }| {
                (0..*inner).map(|p| at(left, row, p) * at(right, p, column))
            });
            let (sum, size) =
                terms.chain(beside).fold((first, first.abs()), |(s, z), t| (s + t, z + t.abs()));
            assert!(
                (f64::from(*found) - sum).abs() <= near * size + 1e-30,
                "{} {machine:?} {rows}x{inner}x{columns} {orders:?} at {row},{column}: {found} is not {sum}",
                std::any::type_name::<E>()
            );
        }
    }
}

const ORDERS: [(Order, Order); 4] = [
    (Order::Rows, Order::Columns),
    (Order::Rows, Order::Rows),
    (Order::Columns, Order::Columns),
    (Order::Columns, Order::Rows),
];

/// A little of every kernel: as much as an interpreter gets through in minutes (`daemon/gemm/check`).
#[test]
fn a_few_sizes() {
    for machine in Machine::all() {
        let (few, weighted) = ((3, 17, 5), (2, 9, 19));
        check(machine, few, ORDERS[0], random::<f32>);
        check(machine, few, ORDERS[0], random::<bf16>);
        check(machine, few, ORDERS[0], random::<f16>);
        check(machine, weighted, ORDERS[1], random::<f32>);
        check(machine, (3, 64, 2), ORDERS[0], random_blocks::<BlockQ8_0>(&[0]));
        check(machine, (3, 64, 2), ORDERS[0], random_blocks::<BlockQ4_0>(&[0]));
        check(machine, (1, 256, 1), ORDERS[0], random_blocks::<BlockQ4K>(&[0, 2]));
        check(machine, (25, 17, 3), ORDERS[0], random::<bf16>);
        check(machine, (25, 3, 32), ORDERS[1], random_blocks::<BlockQ4_0>(&[0]));
        check(machine, (5, 3, 2), ORDERS[2], random::<f32>);
    }
}

#[test]
fn odd_sizes() {
    for machine in Machine::all() {
        for orders in ORDERS {
            for rows in [1, 2, 3, 5, 16, 25, 33] {
                for inner in [1, 8, 15, 17, 58] {
                    for columns in [1, 8, 17, 33] {
                        check(machine, (rows, inner, columns), orders, random::<f32>);
                        check(machine, (rows, inner, columns), orders, random::<bf16>);
                    }
                }
            }
            check(machine, (5, 19, 37), orders, random::<f16>);
            check(machine, (29, 19, 37), orders, random::<f16>);
        }
    }
}

/// Several stretches of the inner length.
#[test]
fn deep_sizes() {
    for machine in Machine::all() {
        for orders in ORDERS {
            check(machine, (26, 999, 41), orders, random::<bf16>);
            check(machine, (27, 600, 39), orders, random::<f32>);
        }
    }
}

/// Several tasks in both directions.
#[test]
fn large_sizes() {
    for machine in Machine::all() {
        for orders in ORDERS {
            check(machine, (2, 577, 600), orders, random::<f32>);
            check(machine, (301, 97, 71), orders, random::<bf16>);
        }
        check(machine, (401, 40, 560), ORDERS[0], random::<f32>);
        check(machine, (24, 1000, 700), ORDERS[0], random::<bf16>);
    }
}

#[test]
fn nothing_to_do_and_nothing_to_sum() {
    let mut target = [7.0f32; 4];
    let empty: [f32; 0] = [];
    for machine in Machine::all() {
        let none = Matrix::rows(&empty, 0);
        product_on(
            machine,
            (0, 3, 2),
            (&mut target, 2),
            none,
            Matrix::rows(&[1.0f32; 6], 2),
            None,
            Accumulate::Zero,
        );
        product_on(
            machine,
            (2, 3, 0),
            (&mut target, 2),
            Matrix::rows(&[1.0; 6], 3),
            none,
            None,
            Accumulate::Zero,
        );
        assert_eq!(target, [7.0; 4]);
        product_on(machine, (2, 0, 2), (&mut target, 2), none, none, None, Accumulate::Target);
        assert_eq!(target, [7.0; 4]);
        product_on(machine, (2, 0, 2), (&mut target, 2), none, none, None, Accumulate::Bias(&[1.0, 2.0]));
        assert_eq!(target, [1.0, 2.0, 1.0, 2.0]);
        product_on(machine, (2, 0, 2), (&mut target, 2), none, none, None, Accumulate::Zero);
        assert_eq!(target, [0.0; 4]);
        target = [7.0; 4];
    }
}

/// Random bytes, with factors that are small numbers: every bit of a block has its say.
fn random_blocks<E: bytemuck::Pod>(factors: &'static [usize]) -> impl Fn(usize, &mut ChaCha8Rng) -> Vec<E> {
    move |count, rng| {
        let one = |rng: &mut ChaCha8Rng| {
            let mut block = E::zeroed();
            let bytes = bytemuck::bytes_of_mut(&mut block);
            rng.fill(bytes);
            for at in factors {
                let factor = f16::from_f32(rng.random_range(-0.01..0.01));
                bytes[*at..at + 2].copy_from_slice(&factor.to_le_bytes());
            }
            block
        };
        (0..count).map(|_| one(rng)).collect()
    }
}

fn random_wide(count: usize, rng: &mut ChaCha8Rng) -> Vec<BlockWide> {
    let one = |rng: &mut ChaCha8Rng| BlockWide {
        factor: f16::from_f32(rng.random_range(-0.01..0.01)).to_f32(),
        shift: rng.random_range(-0.5..0.5),
        numbers: rng.random(),
    };
    (0..count).map(|_| one(rng)).collect()
}

#[test]
fn quantised_blocks() {
    for machine in Machine::all() {
        for rows in [1, 2, 3, 6, 11, 26] {
            for (inner, columns) in [(64, 37), (352, 5), (32, 1)] {
                let (orders, shape) = (ORDERS[0], (rows, inner, columns));
                check(machine, shape, orders, random_blocks::<BlockQ8_0>(&[0]));
                check(machine, shape, orders, random_blocks::<BlockQ4_0>(&[0]));
                check(machine, shape, orders, random_wide);
                // The other way round, as a gradient goes back: the blocks lie along the columns.
                let (orders, shape) = (ORDERS[1], (rows, columns, inner));
                check(machine, shape, orders, random_blocks::<BlockQ8_0>(&[0]));
                check(machine, shape, orders, random_blocks::<BlockQ4_0>(&[0]));
                check(machine, shape, orders, random_wide);
            }
            for (inner, columns) in [(256, 19), (512, 3)] {
                let (orders, shape) = (ORDERS[0], (rows, inner, columns));
                check(machine, shape, orders, random_blocks::<BlockQ4K>(&[0, 2]));
                check(machine, shape, orders, random_blocks::<BlockQ6K>(&[208]));
                let (orders, shape) = (ORDERS[1], (rows, columns, inner));
                check(machine, shape, orders, random_blocks::<BlockQ4K>(&[0, 2]));
                check(machine, shape, orders, random_blocks::<BlockQ6K>(&[208]));
            }
        }
        check(machine, (30, 352, 70), ORDERS[0], random_blocks::<BlockQ4_0>(&[0]));
        check(machine, (30, 70, 512), ORDERS[1], random_blocks::<BlockQ4K>(&[0, 2]));
    }
}

#[test]
#[should_panic(expected = "outside its slice")]
fn blocks_that_a_line_ends_in_are_refused() {
    let blocks = random_wide(4, &mut ChaCha8Rng::seed_from_u64(1));
    let (mut target, right) = ([0.0; 2], Matrix::rows(&blocks, 2).transposed());
    product((1, 40, 2), (&mut target, 2), Matrix::rows(&[1.0; 40], 40), right, Accumulate::Zero);
}

/// What is not finite stays where it belongs: in its row or its column.
#[test]
fn values_that_are_not_finite_stay_in_their_place() {
    let (inner, columns) = (40, 35);
    for machine in Machine::all() {
        // The largest f32 has no bf16 beside it but infinity.
        let (near, large) = if splits(machine) { (SPLIT_LOSS, 1e38) } else { (0.0, f32::MAX) };
        for rows in [1, 4, 30] {
            let mut left = vec![1.0f32; rows * inner];
            let mut right = vec![1.0f32; columns * inner];
            left[(rows - 1) * inner + 39] = f32::INFINITY;
            right[34 * inner + 2] = f32::NAN;
            right[3 * inner] = f32::MIN_POSITIVE / 4.0;
            right[4 * inner + 1] = large;
            let (left, right) = (Matrix::rows(&left, inner), Matrix::rows(&right, inner).transposed());
            let mut target = vec![0.0; rows * columns];
            product_on(
                machine,
                (rows, inner, columns),
                (&mut target, columns),
                left,
                right,
                None,
                Accumulate::Zero,
            );
            for (index, value) in target.iter().enumerate() {
                let (row, column) = (index / columns, index % columns);
                let wanted = match (row + 1 == rows, column) {
                    (_, 34) => f32::NAN,
                    (true, _) => f32::INFINITY,
                    (false, 3) => 39.0,
                    (false, 4) => large,
                    _ => 40.0,
                };
                let strange = value.is_nan() && (wanted.is_nan() || splits(machine) && wanted.is_infinite());
                assert!(
                    strange || (*value - wanted).abs() <= near * wanted.abs() || *value == wanted,
                    "{machine:?} {row},{column}: {value}"
                );
            }
        }
    }
}

/// Stored values of 16 bits are widened exactly, all of them.
#[test]
fn every_stored_value_is_widened_exactly() {
    for machine in Machine::all() {
        for rows in [1, 30] {
            let left = vec![1.0f32; rows];
            let bf16s: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
            let f16s: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
            let columns = bf16s.len();
            let mut target = vec![0.0; rows * columns];
            for order in [Order::Rows, Order::Columns] {
                // With an inner length of 1, both orders are one line or 65,536 lines.
                let stride = if order == Order::Rows { columns } else { 1 };
                let (left, shape) = (Matrix::rows(&left, 1), (rows, 1, columns));
                let right = Matrix { values: &bf16s, stride, order };
                product_on(machine, shape, (&mut target, columns), left, right, None, Accumulate::Zero);
                // `VDPBF16PS` takes what is too small for an exponent for zero.
                let (flushes, _) = rounds::<bf16>(machine, rows, (Order::Rows, order));
                let same = |(found, wanted): (&f32, f32)| {
                    *found == wanted
                        || (found.is_nan() && (wanted.is_nan() || splits(machine) && wanted.is_infinite()))
                        || (flushes && wanted.is_subnormal() && *found == 0.0)
                };
                assert!(
                    target
                        .chunks(columns)
                        .all(|row| row.iter().zip(bf16s.iter().map(|v| v.to_f32())).all(same))
                );
                let right = Matrix { values: &f16s, stride, order };
                product_on(machine, shape, (&mut target, columns), left, right, None, Accumulate::Zero);
                assert!(
                    target
                        .chunks(columns)
                        .all(|row| row.iter().zip(f16s.iter().map(|v| v.to_f32())).all(same))
                );
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (inner, columns) = (577, 900);
    let right = random::<bf16>(inner * columns, &mut rng);
    for rows in [1, 5, 300] {
        let left = random::<f32>(rows * inner, &mut rng);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (left, right) = (Matrix::rows(&left, inner), Matrix::rows(&right, inner).transposed());
            pool.install(|| new_product((rows, inner, columns), left, right, None))
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(5));
    }
}

#[test]
#[should_panic(expected = "outside its slice")]
fn a_matrix_outside_its_slice_is_refused() {
    let mut target = [0.0; 4];
    let short = Matrix::rows(&[1.0f32; 3], 2);
    product((2, 2, 2), (&mut target, 2), Matrix::rows(&[1.0; 4], 2), short, Accumulate::Zero);
}

#[test]
#[should_panic(expected = "too small")]
fn a_target_that_is_too_small_is_refused() {
    let values = [1.0f32; 4];
    let mut target = [0.0; 3];
    product(
        (2, 2, 2),
        (&mut target, 2),
        Matrix::rows(&values, 2),
        Matrix::rows(&values, 2),
        Accumulate::Zero,
    );
}

/// Answers that are written together are those that would have been written alone.
#[test]
fn a_row_among_few_has_the_bits_that_it_has_alone() {
    fn check<E: Stored>(units: impl Fn(usize, &mut ChaCha8Rng) -> Vec<E>) {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (inner, columns) = (768, 29);
        let right = units(inner / E::VALUES * columns, &mut rng);
        let right = Matrix::rows(&right, inner / E::VALUES).transposed();
        let left = random::<f32>(FEW_ROWS * inner, &mut rng);
        for machine in Machine::all() {
            let run = |rows: Range<usize>| {
                let mut target = vec![0.0; rows.len() * columns];
                let shape = (rows.len(), inner, columns);
                let left = Matrix::rows(&left[rows.start * inner..], inner);
                product_on(machine, shape, (&mut target, columns), left, right, None, Accumulate::Zero);
                target
            };
            let alone: Vec<f32> = (0..FEW_ROWS).flat_map(|row| run(row..row + 1)).collect();
            for rows in [2, 3, 4, 7, 8, 9, 16, 19, FEW_ROWS] {
                assert_eq!(run(0..rows), alone[..rows * columns], "{machine:?} {rows}");
            }
        }
    }
    check(random::<f32>);
    check(random::<f16>);
    check(random::<bf16>);
    check(random_blocks::<BlockQ8_0>(&[0]));
    check(random_blocks::<BlockQ4_0>(&[0]));
    check(random_wide);
    check(random_blocks::<BlockQ4K>(&[0, 2]));
    check(random_blocks::<BlockQ6K>(&[208]));
}
