"""The faults that `make cuda-check` plants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`old`, which occurs once in csrc/cuda/<file>, becomes `new`; `kind` is the build that must notice."""

    name: str
    file: str
    old: str
    new: str
    kind: str = "plain"


FAULTS = (
    Fault(
        "groups of a turn forgotten",
        "lanes.cuh",
        "static_cast<int64_t>(turns) * blockDim.x + group",
        "static_cast<int64_t>(turns) + group",
    ),
    Fault("batch past the segment", "segments.cuh", "p + kBatch <= past; p += kBatch", "p < past; p += kBatch", "asan"),
    Fault("x read past its end", "segments.cuh", "  x += column;\n", "  x += column + 1;\n", "asan"),
    Fault("join leaves out a length", "segments.cuh", "segment - first > kShortJoin", "segment - first >= kShortJoin"),
    Fault("join without barrier", "segments.cuh", "  __syncthreads();\n", "", "tsan"),
    Fault("row ends after its entries", "segments.cuh", "indptr[middle + 1] + middle < item", "indptr[middle] < item"),
    Fault(
        "32-bit offset",
        "segments.cuh",
        "const Vector<X, V> vector = load_vector<X, V>(x + static_cast<int64_t>(j) * channels)",
        "const Vector<X, V> vector = load_vector<X, V>(x + static_cast<int>(j * static_cast<unsigned>(channels)))",
    ),
    Fault(
        "32-bit offset in a batch",
        "segments.cuh",
        "vector[u] = load_vector<X, V>(x + static_cast<int64_t>(j) * channels)",
        "vector[u] = load_vector<X, V>(x + static_cast<int>(j * static_cast<unsigned>(channels)))",
    ),
    Fault("half a bfloat16", "widen.cuh", "value.bits) << 16", "value.bits) << 15"),
    Fault(
        "degree of the first row only",
        "segments.cuh",
        "    row_end = row < past_row ? indptr[row + 1] : -1;\n    own = row < rows ? entries.own(row) : T(0);\n",
        "    row_end = row < past_row ? indptr[row + 1] : -1;\n",
    ),
    Fault(
        "carry left out of s",
        "rayleigh.cuh",
        "store_vector<float, V>(carry, piece);\n    add(row, piece);\n",
        "store_vector<float, V>(carry, piece);\n    if (row < 0) add(row, piece);\n",
    ),
    Fault(
        "pieces of a step without gain",
        "chebyshev_step.cuh",
        "piece.at[k] = by.gain * sum.at[k]",
        "piece.at[k] = sum.at[k]",
    ),
    Fault("y read where it counts nothing", "chebyshev_step.cuh", "if (by.keep != 0.0f) result", "result"),
    Fault(
        "alignment of x and y alone",
        "chebyshev_step.cuh",
        "while (!rows_aligned(own,",
        "while (!rows_aligned(y,",
        "asan",
    ),
    Fault(
        "alignment of y alone",
        "csr_spmm.cuh",
        "if (rows_aligned(x, channels, vector) && ",
        "if (rows_aligned(x, channels, 1) && ",
        "asan",
    ),
    Fault(
        "sums of a block without barrier",
        "rayleigh.cuh",
        "dots.sum[k];\n  __syncthreads();\n",
        "dots.sum[k];\n",
        "tsan",
    ),
    Fault(
        "sums of the strands without barrier",
        "rayleigh.cuh",
        "strand_sum[threadIdx.x] = sum;\n  __syncthreads();\n",
        "strand_sum[threadIdx.x] = sum;\n",
        "tsan",
    ),
    Fault(
        "partial sums past the columns",
        "rayleigh.cuh",
        "  if (strand != 0 || column >= channels) return;\n",
        "  if (strand != 0) return;\n",
        "asan",
    ),
    Fault("one level of sums", "rayleigh.cuh", "while (parts > kSumParts)", "while (parts > 4 * kSumParts)"),
    Fault(
        "idle threads leave before the barrier",
        "rayleigh.cuh",
        "  Dots<V> dots{",
        "  if (place.group >= segments) return;\n  Dots<V> dots{",
    ),
    Fault("plain write for a maximum", "csr_check.cuh", "atomicMax(&report->outside, ", "report->outside = (", "tsan"),
    Fault(
        "next row",
        "csr_entries.cuh",
        "lower_bound(indptr, 0, rows + 1, p + 1) - 1",
        "lower_bound(indptr, 0, rows + 1, p) - 1",
    ),
    Fault("order of rows across their ends", "csr_entries.cuh", "p > indptr[row] && indices", "p > 0 && indices"),
    Fault(
        "starts of the next column",
        "csr_transpose.cuh",
        "static_cast<int32_t>(column))",
        "static_cast<int32_t>(column) + 1)",
    ),
    Fault(
        "transpose past the end", "csr_transpose.cuh", "if (to >= entries) return;", "if (to > entries) return;", "asan"
    ),
    Fault("a place kept twice", "csr_symmetrise.cuh", "if (keep && yields) {", "if (keep && !yields && yields) {"),
    Fault("duplicates left out", "csr_symmetrise.cuh", "sum += side.values[p];", "sum = side.values[p];"),
    Fault("union past the end", "csr_symmetrise.cuh", "p >= entries || own", "p > entries || own", "asan"),
    Fault(
        "lanes leave before the sum",
        "csr_symmetrise.cuh",
        "  if (row >= rows) return;  // a whole warp\n",
        "  if (row >= rows || indptr[row] + lane >= indptr[row + 1]) return;\n",
    ),
    Fault("one row a step", "csr_sddmm.cuh", "while (p >= indptr[row + 1]) ++row;", "if (p >= indptr[row + 1]) ++row;"),
    Fault(
        "run past the end",
        "csr_sddmm.cuh",
        "const bool works = p < entries;",
        "const bool works = p <= entries;",
        "asan",
    ),
    Fault(
        "lanes without work leave",
        "csr_sddmm.cuh",
        "    const bool works = p < entries;\n",
        "    const bool works = p < entries;\n    if (!works) return;\n",
    ),
    Fault(
        "no barrier after staging", "gram.cuh", "right_tile, b);\n    __syncthreads();\n", "right_tile, b);\n", "tsan"
    ),
    Fault("no barrier before staging again", "gram.cuh", "    __syncthreads();\n  }\n", "  }\n", "tsan"),
    Fault(
        "chunks added twice", "gram.cuh", "chunk = 0; chunk < chunks", "chunk = -(chunks > 1); chunk < chunks", "asan"
    ),
    Fault("padding written", "gram.cuh", "if (c < left && k < right) partial", "partial", "asan"),
    Fault("shared array too short", "rotate.cuh", "a, kRotateStage * kRotatePitch", "a, kRotateStage * 64", "asan"),
    Fault("rows past the end", "rotate.cuh", "if (r < rows && k < width)", "if (k < width)", "asan"),
    Fault("one step count for all", "adam_rows.cuh", "size = sizes[place.group]", "size = sizes[0]"),
    Fault("update in spite of a fault", "adam_rows.cuh", " || *fault != 0", " || fault == nullptr"),
    Fault("a step count of NaN", "adam_rows.cuh", "!(step[row] >= Step(1))", "step[row] < Step(1)"),
    Fault(
        "update past the last row",
        "adam_rows.cuh",
        "place.group >= rows || column",
        "place.group > rows || column",
        "asan",
    ),
    Fault("plain write for a fault", "adam_rows.cuh", "atomicMax(fault, ", "*fault = (", "tsan"),
    Fault(
        "lanes leave before a vote",
        "topc_select.cuh",
        "  if (begin >= past) return;\n",
        "  if (begin + list.lane >= past) return;\n",
    ),
    Fault("merge without __syncwarp", "topc_list.cuh", "keys[i] = 0;\n    __syncwarp();\n", "keys[i] = 0;\n", "tsan"),
    Fault("sort without __syncwarp", "warp_sort.cuh", "      __syncwarp();\n", "", "tsan"),
    Fault(
        "higher column first",
        "pair_keys.cuh",
        "<< 32 | static_cast<uint32_t>(~static_cast<uint32_t>(column));",
        "<< 32 | static_cast<uint32_t>(column);",
    ),
    Fault("negative values out of order", "pair_keys.cuh", "bits >> 31 ? ~bits : bits", "bits >> 31 ? bits : bits"),
    Fault("minus zero below zero", "pair_keys.cuh", "__float_as_int(value + 0.0f)", "__float_as_int(value)"),
    Fault("a node its own neighbour", "topc_select.cuh", " && column != row && ", " && "),
    Fault(
        "NaN passes",
        "topc_select.cuh",
        "value[k] >= threshold && value[k] > 0.0f",
        "!(value[k] < threshold || value[k] <= 0.0f)",
    ),
    Fault(
        "buffer overflows",
        "topc_select.cuh",
        "list.full_after(kRound)",
        "list.full_after(0)",
        "asan",
    ),
    Fault("free places counted", "topc_list.cuh", "if (keys[middle] != 0) low", "if (keys[middle] != 1) low"),
    Fault("a column twice", "topc_merge.cuh", "const bool doubled = i > 0 && ", "const bool doubled = i < 0 && "),
    Fault(
        "buffer read before it is filled",
        "topc_merge.cuh",
        "    __syncwarp();  // the buffer was filled by other lanes\n",
        "",
        "tsan",
    ),
    Fault(
        "neighbour changed before it is read",
        "topc_merge.cuh",
        "pair_of_column_key(keys[i]);\n      __syncwarp();\n",
        "pair_of_column_key(keys[i]);\n",
        "tsan",
    ),
    Fault(
        "buffer of the merge overflows",
        "topc_merge.cuh",
        "full_after(kWarp)",
        "full_after(0)",
        "asan",
    ),
    Fault("NaN is merged", "topc_merge.cuh", "inside && value == value ?", "inside ?"),
    Fault("a scale of infinity", "unit_project.cuh", "!(squares <= kMostSquares)", "squares != squares"),
    Fault("unit rows past the end", "unit_project.cuh", "if (row >= rows) return;", "if (row > rows) return;", "asan"),
    Fault(
        "lanes leave before the squares meet",
        "unit_project.cuh",
        "row >= rows) return;",
        "row >= rows || lane >= depth) return;",
    ),
    Fault("a row of another group", "row_dots.cuh", "step * kRowGroups + group);", "step * kRowGroups + 0 * group);"),
    Fault(
        "groups without a row leave",
        "row_dots.cuh",
        "    float sum = 0;\n",
        "    float sum = 0;\n    if (at < 0) break;\n",
    ),
    Fault(
        "columns past the depth",
        "row_dots.cuh",
        "c < depth; c += kRowLanes",
        "c < depth + kRowLanes; c += kRowLanes",
        "asan",
    ),
    Fault(
        "candidates of the next query",
        "cosine_topc.cuh",
        "p < shape.most ? candidates",
        "p < shape.most + 1 ? candidates",
        "asan",
    ),
    Fault("buffer of cosines overflows", "cosine_topc.cuh", "list.full_after(kWarp)", "list.full_after(0)", "asan"),
    Fault("a threshold that is met", "cosine_topc.cuh", "value >= shape.threshold", "value > shape.threshold"),
    Fault(
        "names as unsigned numbers",
        "cosine_topc.cuh",
        "static_cast<uint32_t>(name) ^ 0x80000000u",
        "static_cast<uint32_t>(name)",
    ),
    Fault(
        "keys of the own image",
        "cell_topc.cuh",
        "p < past && key_image[p] != image",
        "p < past && (key_image[p] != image || image >= 0)",
    ),
    Fault("keys past the cell", "cell_topc.cuh", "p < past && key_image", "p <= past && key_image"),
    Fault("plain write for a first index", "index_check.cuh", "atomicMax(found, ", "*found = (", "tsan"),
)

SECTOR_FAULTS = (
    Fault(
        "requests off the sectors' edges", "topc_select.cuh", "base = begin - shift; base", "base = begin; base", "ptx"
    ),
    Fault(
        "elements of x one by one",
        "lanes.cuh",
        "  return *reinterpret_cast<const Vector<T, V>*>(from);\n",
        "  Vector<T, V> vector;\n  for (int k = 0; k < V; ++k) vector.at[k] = from[k];\n  return vector;\n",
        "ptx",
    ),
    Fault(
        "columns of a lane side by side",
        "row_dots.cuh",
        "int64_t c = part * V; c < depth; c += kRowLanes * V",
        "int64_t c = part * (depth / kRowLanes); c < (part + 1) * (depth / kRowLanes); c += V",
        "ptx",
    ),
)
"""Right results at a higher cost: what runs the PTX must notice them."""
