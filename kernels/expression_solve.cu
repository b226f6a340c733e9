// expression_solve: expression coefficients, in a box, from weighted displacements of points, batched over faces.
//
//   minimise over c in [0,1]^K:  sum_p w_p |d_p - sum_k c_k b_kp|^2 + l2 |c|^2 + temporal |c - previous|^2
//
// Launches: normal (B^T W B by chunks of points, in float), sum (of the chunks), then twice gradient (B^T W
// (d - B c) by strips of points, in double, at the coefficients so far) and solve (a block for each face).
// The second time corrects the first: what rounding in float did to B^T W B then only bends a step that is
// nearly nothing (iterative refinement; Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
// section 12). Partial sums are added in a fixed order: no atomics, and the same result in every run.
//
// For F faces, P points, K coefficients; N = K (K+1) / 2; T = K/4 (K/4+1) / 2 tiles of 4 x 4 floats:
//  * FLOPs: B^T W B is a weighted sum of b b^T, which up to four faces share: 2 N P F (1 + 3/4) in float; the
//    gradients 24 K P F and the solve some 200 K^2 F in double.
//  * Bytes: basis 12 K P and displacements with weights 16 F P, three times (the basis again for every four
//    or eight faces, but from the L2 cache); scratch F P (T + 2 * 32) written and read.
//  * Floor: max(float FLOPs / peak, bytes / bandwidth) + double FLOPs / peak + the solves' chains of some 600
//    barriers. F = 32, P = 5000, K = 52: 0.77 GFLOP float, 0.22 GFLOP double, 17 MB + 50 MB of scratch: at
//    3 TB/s, 50 TFLOP/s and 25 TFLOP/s 22 us + 9 us; where double runs at 1/64 of float's pace the gradients
//    are the most of it (0.3 ms at 0.8 TFLOP/s). F = 1, P = 478: launches and barriers are all there is.

#include "prosopon.cuh"

CONSTANT int MAX_K = 64;     // coefficients
CONSTANT int TILE = 32;      // points whose basis a block of the normal matrix has in shared memory at a time
CONSTANT int ROWS = 3 * TILE;
CONSTANT int CHUNK = 64;     // points in one partial sum of the normal matrix
CONSTANT int STRIP = 16;     // points in one partial sum of the gradient
CONSTANT int GROUP = 8;      // faces for which a block of the gradient uses its strip

// Share of its diagonal by which the matrix of the solve's steps, not that of the sum, exceeds the normal
// matrix: above the rounding of sums in float. Where a step is not unique the shortest is made, and elsewhere
// the next one corrects what this costs.
CONSTANT double RIDGE = 1e-6;

struct alignas(16) Four {
    float v[4];
};

struct ExpressionParams {
    const float *displacement;  // F, P, 3
    const float *basis;         // K, P, 3
    const float *weights;       // F, P
    const float *previous;      // F, K
    const float *start;         // F, K: where the gradient is taken and the solve begins
    float *out;                 // F, K
    Four *normal_parts;         // F, chunks, tiles, 4: 4 x 4 tiles of the lower triangle
    double *normal;             // F, tiles, 16
    double *pull_parts;         // F, strips, MAX_K
    double l2;
    double temporal;
    float max_mm;
    float max_weight;
    int faces;
    int points;
    int count;  // K
};

DEVICE int ceil_div(int value, int unit) { return (value + unit - 1) / unit; }

DEVICE int tile_count(const ExpressionParams &p) {
    const int across = ceil_div(p.count, 4);
    return across * (across + 1) / 2;
}

/// Row and column of tile `index`: the lower triangle row by row.
DEVICE void tile_place(int index, int &row, int &column) {
    row = 0;
    while (index > row) index -= ++row;
    column = index;
}

DEVICE float usable_weight(const ExpressionParams &p, int face, int point) {
    if (face >= p.faces || point >= p.points) return 0.0f;
    const int at = face * p.points + point;
    const float weight = p.weights[at], *d = p.displacement + 3 * at;
    // Comparisons with NaN are false, so a NaN leaves the point out.
    const bool near = fabs(d[0]) <= p.max_mm && fabs(d[1]) <= p.max_mm && fabs(d[2]) <= p.max_mm;
    return near && weight > 0.0f && weight <= p.max_weight ? weight : 0.0f;
}

/// Basis of coefficient k in `row` (3 * point + axis); 0 beyond the last, and for what is no length.
DEVICE float basis_at(const ExpressionParams &p, int k, int row) {
    if (k >= p.count || row >= 3 * p.points) return 0.0f;
    const float value = p.basis[k * 3 * p.points + row];
    return fabs(value) <= p.max_mm ? value : 0.0f;
}

DEVICE double number(float value) { return isfinite(value) ? double(value) : 0.0; }

/// Clipped to 0..1; what is on a wall but for rounding is put there.
DEVICE double in_box(double value) {
    constexpr double snap = 1e-9;
    if (value <= snap) return 0.0;
    return value >= 1.0 - snap ? 1.0 : value;
}

/// Where the gradient is taken and the solve begins: the same for both, to the last bit.
DEVICE float start_at(const ExpressionParams &p, int at) { return float(in_box(number(p.start[at]))); }

/// Of a sum that four threads side by side shared.
DEVICE double four_sum(const double *parts, int i) {
    return (parts[4 * i] + parts[4 * i + 1]) + (parts[4 * i + 2] + parts[4 * i + 3]);
}

// The normal matrix

template <int N> struct TileSums {
    float v[N][16];
};

/// One chunk of points for N faces; thread t sums tile t.
template <int N> DEVICE void sum_normal(const ExpressionParams &p) {
    constexpr int quads = MAX_K / 4 + 1;  // one more than is used: rows then start in different banks
    SHARED Four basis[ROWS * quads];
    SHARED float weights[TILE * N];
    PerThread<TileSums<N>> sums;
    const int first = blockIdx.x * CHUNK, face = blockIdx.y * N, tiles = tile_count(p);
    each_thread([&](int t) {
#pragma unroll
        for (int e = 0; e < N * 16; ++e) sums[t].v[e / 16][e % 16] = 0.0f;
    });
    for (int begin = first; begin < min(first + CHUNK, p.points); begin += TILE) {
        each_thread([&](int t) {
            for (int at = t; at < ROWS * ceil_div(p.count, 4); at += blockDim.x) {
                const int row = at % ROWS, quad = at / ROWS;
                Four four;
#pragma unroll
                for (int e = 0; e < 4; ++e) four.v[e] = basis_at(p, 4 * quad + e, 3 * begin + row);
                basis[row * quads + quad] = four;
            }
            for (int at = t; at < TILE * N; at += blockDim.x)
                weights[at] = usable_weight(p, face + at % N, begin + at / N);
        });
        each_thread([&](int t) {
            if (t >= tiles) return;
            int row, column;
            tile_place(t, row, column);
            TileSums<N> &sum = sums[t];
            for (int point = 0; point < TILE; ++point) {
                float products[16];
#pragma unroll
                for (int axis = 0; axis < 3; ++axis) {
                    const Four *line = basis + (3 * point + axis) * quads;
                    const Four a = line[row], b = line[column];
#pragma unroll
                    for (int e = 0; e < 16; ++e) {
                        const float product = a.v[e / 4] * b.v[e % 4];
                        products[e] = axis == 0 ? product : products[e] + product;
                    }
                }
#pragma unroll
                for (int n = 0; n < N; ++n) {
                    const float weight = weights[point * N + n];
#pragma unroll
                    for (int e = 0; e < 16; ++e) sum.v[n][e] += weight * products[e];
                }
            }
        });
    }
    each_thread([&](int t) {
        if (t >= tiles) return;
#pragma unroll
        for (int n = 0; n < N; ++n) {
            if (face + n >= p.faces) return;
            Four *place = p.normal_parts + ((size_t(face + n) * gridDim.x + blockIdx.x) * tiles + t) * 4;
#pragma unroll
            for (int q = 0; q < 4; ++q) {
                Four four;
#pragma unroll
                for (int e = 0; e < 4; ++e) four.v[e] = sums[t].v[n][4 * q + e];
                place[q] = four;
            }
        }
    });
}

/// Grid (chunks, 1): a thread for each tile.
KERNEL(expression_normal_1, ExpressionParams, 160) { sum_normal<1>(p); }

/// Grid (chunks, faces / 4): the products of the basis serve four faces.
KERNEL(expression_normal_4, ExpressionParams, 160) { sum_normal<4>(p); }

/// Grid (elements / 128, faces): the chunks' sums in their order.
KERNEL(expression_sum, ExpressionParams, 128) {
    each_thread([&](int t) {
        const int elements = 16 * tile_count(p), e = blockIdx.x * blockDim.x + t, face = blockIdx.y;
        if (e >= elements) return;
        const int chunks = ceil_div(p.points, CHUNK);
        const Four *parts = p.normal_parts + size_t(face) * chunks * (elements / 4) + e / 4;
        double sum = 0.0;
#pragma unroll 8
        for (int chunk = 0; chunk < chunks; ++chunk)
            sum += double(parts[size_t(chunk) * (elements / 4)].v[e % 4]);
        p.normal[face * elements + e] = sum;
    });
}

// The gradient

/// Grid (strips, faces / GROUP): each face's B^T W (d - B start) over one strip of points.
KERNEL(expression_gradient, ExpressionParams, 256) {
    constexpr int rows = 3 * STRIP, width = MAX_K + 1;  // odd: columns as well as rows in different banks
    SHARED double basis[rows * width];
    SHARED double code[MAX_K], residual[rows], parts[4 * MAX_K];
    const int begin = blockIdx.x * STRIP;
    each_thread([&](int t) {
        for (int at = t; at < rows * MAX_K; at += 256)
            basis[at % rows * width + at / rows] = double(basis_at(p, at / rows, 3 * begin + at % rows));
    });
    const int last = min(p.faces, (int(blockIdx.y) + 1) * GROUP);
    for (int face = blockIdx.y * GROUP; face < last; ++face) {
        each_thread([&](int t) {
            if (t < MAX_K) code[t] = t < p.count ? double(start_at(p, face * p.count + t)) : 0.0;
        });
        each_thread([&](int t) {
            const int row = t / 4;
            double sum = 0.0;
            if (row < rows)
                for (int k = t % 4; k < p.count; k += 4) sum += code[k] * basis[row * width + k];
            parts[t] = sum;
        });
        each_thread([&](int t) {
            if (t >= rows) return;
            const float weight = usable_weight(p, face, begin + t / 3);
            double rest = 0.0;
            if (weight > 0.0f)
                rest = double(p.displacement[(face * p.points + begin) * 3 + t]) - four_sum(parts, t);
            residual[t] = double(weight) * rest;
        });
        each_thread([&](int t) {
            double sum = 0.0;
            for (int row = t % 4; row < rows; row += 4) sum += residual[row] * basis[row * width + t / 4];
            parts[t] = sum;
        });
        each_thread([&](int t) {
            if (t < MAX_K)
                p.pull_parts[(size_t(face) * gridDim.x + blockIdx.x) * MAX_K + t] = four_sum(parts, t);
        });
    }
}

// The solve

/// One face's problem: least c^T A c / 2 - ... in the box, of which `pull` is the descent at `code`.
struct Solver {
    /// A in the upper triangle, one to the right; below it A and a ridge, swept (see `sweep`) on `swept`.
    double table[MAX_K * (MAX_K + 1)];
    double code[MAX_K], pull[MAX_K], step[MAX_K], delta[MAX_K], change[MAX_K], column[MAX_K];
    double gain[MAX_K], slope[MAX_K], reach[MAX_K], wall[MAX_K];
    double parts[4 * MAX_K];
    double inverse;
    int free[MAX_K], swept[MAX_K];
    int blocked;
};

DEVICE double &normal_at(Solver &s, int i, int j) { return s.table[min(i, j) * (MAX_K + 1) + max(i, j) + 1]; }

DEVICE double &swept_at(Solver &s, int i, int j) { return s.table[max(i, j) * (MAX_K + 1) + min(i, j)]; }

DEVICE void load_problem(Solver &s, const ExpressionParams &p, int face) {
    each_thread([&](int t) {
        const int elements = 16 * tile_count(p);
        for (int e = t; e < elements; e += 256) {
            int row, column;
            tile_place(e / 16, row, column);
            const int i = 4 * row + e / 4 % 4, j = 4 * column + e % 4;
            if (i >= p.count || j > i) continue;
            const double value = p.normal[face * elements + e] + (i == j ? p.l2 + p.temporal : 0.0);
            normal_at(s, i, j) = value;
            swept_at(s, i, j) = i == j ? value * (1.0 + RIDGE) : value;
        }
        const int strips = ceil_div(p.points, STRIP);
        double sum = 0.0;
        for (int strip = t % 4; strip < strips; strip += 4)
            sum += p.pull_parts[(size_t(face) * strips + strip) * MAX_K + t / 4];
        s.parts[t] = sum;
    });
    each_thread([&](int t) {
        if (t >= MAX_K) return;
        s.code[t] = s.pull[t] = 0.0;
        s.swept[t] = s.free[t] = 0;
        if (t >= p.count) return;
        const int at = face * p.count + t;
        const double code = start_at(p, at);
        s.code[t] = code;
        s.pull[t] = four_sum(s.parts, t) - p.l2 * code - p.temporal * (code - number(p.previous[at]));
    });
}

/// Gauss-Jordan sweep of the symmetric table on pivot k, or its undoing. After sweeping a set of variables
/// their part of the table is minus the inverse of what it was (Goodnight, A Tutorial on the SWEEP Operator,
/// The American Statistician 33, 1979).
DEVICE void sweep(Solver &s, int count, int k, bool leaving) {
    each_thread([&](int t) {
        if (t < count) s.column[t] = swept_at(s, t, k);
        if (t == 0) s.inverse = 1.0 / swept_at(s, k, k);
    });
    each_thread([&](int t) {
        // Eight threads for row `pair` and the row as far from the end: together as long as all such pairs.
        const int pair = t / 8;
        if (t == 0) s.swept[k] = !leaving;
        if (pair >= (count + 1) / 2) return;
        const double inverse = s.inverse, sign = leaving ? -inverse : inverse;
        for (int e = t % 8; e <= count; e += 8) {
            const int i = e <= pair ? pair : count - 1 - pair, j = e <= pair ? e : e - pair - 1;
            if (e > pair && i == pair) break;
            double &value = swept_at(s, i, j);
            if (i == k && j == k) value = -inverse;
            else if (i == k) value = s.column[j] * sign;
            else if (j == k) value = s.column[i] * sign;
            else value -= s.column[i] * inverse * s.column[j];
        }
    });
}

/// Sweeps until `swept` is `free`, but for variables that move nothing.
DEVICE void sweep_to_free(Solver &s, int count) {
    for (int k = 0; k < count; ++k)
        if (s.swept[k] && !s.free[k]) sweep(s, count, k, true);
    for (int k = 0; k < count; ++k)
        if (s.free[k] && !s.swept[k] && swept_at(s, k, k) > 0.5 * RIDGE * normal_at(s, k, k))
            sweep(s, count, k, false);
}

/// Every variable may move but those on a wall that would be pulled through it.
DEVICE void release(Solver &s, int count) {
    each_thread([&](int t) {
        if (t >= count) return;
        const bool held = (s.code[t] <= 0.0 && s.pull[t] <= 0.0) || (s.code[t] >= 1.0 && s.pull[t] >= 0.0);
        s.free[t] = !held;
    });
}

DEVICE void newton_step(Solver &s, int count) {
    each_thread([&](int t) {
        double sum = 0.0;
        const int i = t / 4;
        if (i < count && s.swept[i])
            for (int j = t % 4; j < count; j += 4)
                if (s.swept[j]) sum -= swept_at(s, i, j) * s.pull[j];
        s.parts[t] = sum;
    });
    each_thread([&](int t) {
        if (t < MAX_K) s.step[t] = four_sum(s.parts, t);
    });
}

/// By how much a step of `length`, bent at the walls, lowers the sum to minimise: `gain`, and `slope` to
/// first order. Also how far it goes (`reach`), and what part of the whole step leads to the first wall.
DEVICE void try_step(Solver &s, int count, double length) {
    each_thread([&](int t) {
        if (t < MAX_K) s.delta[t] = in_box(s.code[t] + length * s.step[t]) - s.code[t];
    });
    each_thread([&](int t) {
        double sum = 0.0;
        const int i = t / 4;
        if (i < count)
            for (int j = t % 4; j < count; j += 4) sum += normal_at(s, i, j) * s.delta[j];
        s.parts[t] = sum;
    });
    each_thread([&](int t) {
        if (t >= MAX_K) return;
        const double step = s.step[t], delta = s.delta[t];
        s.change[t] = four_sum(s.parts, t);
        s.gain[t] = delta * (s.pull[t] - 0.5 * s.change[t]);
        s.slope[t] = delta * s.pull[t];
        s.reach[t] = fabs(delta);
        const double room = step > 0.0 ? 1.0 - s.code[t] : s.code[t];
        s.wall[t] = room < fabs(step) ? room / fabs(step) : 1.0;
    });
    for (int half = MAX_K / 2; half > 0; half /= 2)
        each_thread([&](int t) {
            if (t >= half) return;
            s.gain[t] += s.gain[t + half];
            s.slope[t] += s.slope[t + half];
            s.reach[t] = max(s.reach[t], s.reach[t + half]);
            s.wall[t] = min(s.wall[t], s.wall[t + half]);
        });
}

/// Makes the step: bent at the walls where that goes down, else straight up to the first wall. Variables
/// that it brought to a wall are no longer free. Returns how far the bent step would go; 0 where neither
/// goes down.
DEVICE double advance(Solver &s, int count) {
    constexpr double armijo = 0.1;
    try_step(s, count, 1.0);
    const double reach = s.reach[0];
    if (s.gain[0] < armijo * fabs(s.slope[0])) {
        try_step(s, count, s.wall[0]);
        if (s.gain[0] < 0.0) return 0.0;
    }
    each_thread([&](int t) {
        if (t == 0) s.blocked = 0;
    });
    each_thread([&](int t) {
        if (t >= count) return;
        s.code[t] += s.delta[t];
        s.pull[t] -= s.change[t];
        const bool met = (s.code[t] <= 0.0 && s.step[t] < 0.0) || (s.code[t] >= 1.0 && s.step[t] > 0.0);
        if (!met) return;
        s.free[t] = 0;
        s.blocked = 1;
    });
    return reach;
}

/// Grid (faces): Newton steps on sets of free variables. Variables are released only once the free ones are
/// at their best; all other steps make the set smaller, so that none comes back; bent steps (Bertsekas,
/// Projected Newton Methods, SIAM J. Control Optim. 20, 1982) keep that short.
KERNEL(expression_solve, ExpressionParams, 256) {
    constexpr int max_rounds = 200;
    constexpr double least_step = 1e-8;
    SHARED Solver s;
    const int face = blockIdx.x, count = p.count;
    load_problem(s, p, face);
    bool settled = true;
    for (int round = 0; round < max_rounds; ++round) {
        if (settled) release(s, count);
        sweep_to_free(s, count);
        newton_step(s, count);
        const double reach = advance(s, count);
        if (settled && reach <= least_step) break;
        settled = reach <= least_step || !s.blocked;
    }
    each_thread([&](int t) {
        if (t < count) p.out[face * count + t] = float(s.code[t]);
    });
}
