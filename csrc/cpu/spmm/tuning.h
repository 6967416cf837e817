// The tuning constants of the sparse products.

#pragma once

#include <cstdint>

namespace sg {

// Prefetch distances, in entries between the prefetch of a row of x and its use. They are longer where the product
// exceeds the last-level cache, since rows of x then come from memory; where it fits, a longer distance would evict
// rows from the first-level cache before their use. bfloat16 rows are half as long, so the loop reaches them sooner.
constexpr int64_t kPrefetchDistance = 16;
constexpr int64_t kFarPrefetchDistance[] = {96, 48};
constexpr int kFarVectors[] = {4, 8};  // the most vectors of a row that each of these distances serves
constexpr int64_t kPrefetchDistanceBf16 = 32;
constexpr int64_t kFarPrefetchDistanceBf16[] = {64, 48};  // for rows of up to 64 columns, and for wider ones

// Bytes. Above the first, a product exceeds the last-level cache. Up to the second, prefetches of an x of at most
// kNarrow columns cost more than they save: out-of-order execution hides the latency of so near a cache.
constexpr int64_t kCachedBytes = int64_t{16} << 20;
constexpr int64_t kNearBytes = int64_t{4} << 20;

// Bytes between the prefetch of a line of y and its store, where rows have at most two entries on average: the time
// then goes into storing y.
constexpr int64_t kStorePrefetchBytes = 2048;

// Registers. A vector holds 8 floats; 13 sums, the entry's value and two temporaries fill the 16 registers.
constexpr int64_t kNarrow = 8;       // columns; up to here a row of x is at most one vector
constexpr int kMostVectors = 13;     // of a row that is not tiled
constexpr int kMostFarVectors = 16;  // where x exceeds the cache: spilling sums costs less than reading a row twice
constexpr int kPairedVectors = 4;    // up to here the loop takes two entries at a time
constexpr int kTwoChainVectors = 3;  // up to here a sum has two chains, to hide the latency of the additions
constexpr int kTileVectors = 8;      // of a tile of a wider row
constexpr int kMostPairs = 6;        // bfloat16: pairs of vectors of a row that is not tiled, and one more vector
constexpr int kTilePairs = 4;        // bfloat16: pairs of a tile
constexpr int64_t kTiledEntries = 32;  // entries that each tile of a row takes in turn

// Long rows, in entries. A row of more than kLongRow is the sum of at most kMostPieces pieces of about kPieceEntries.
constexpr int64_t kLongRow = 4096;
constexpr int64_t kPieceEntries = 1024;
constexpr int64_t kMostPieces = 256;

}  // namespace sg
