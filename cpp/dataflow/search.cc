#include "search.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace tdse::dataflow {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Between two looks at the clock.
constexpr int64_t kUnwatched = 1 << 14;

// What no mapping with a part can go below: one pair for each operand that may be used again.
struct Floor {
  double cycles[kOperands] = {}, energy_pj[kOperands] = {};
  int count = 0;
  void Add(double least_cycles, double least_energy_pj) {
    cycles[count] = least_cycles;
    energy_pj[count++] = least_energy_pj;
  }
};

double ValueOf(Objective objective, double cycles, double energy_pj) {
  switch (objective) {
    case kEdp:
      return cycles * energy_pj;
    case kLeastEnergy:
      return energy_pj;
    default:
      return cycles;
  }
}

void Keep(double value, const ArrayPart& array, const TilePart& tile, Reuse spm, Reuse dram,
          Found* found) {
  found->value = value;
  for (int loop = 0; loop < kLoops; ++loop) {
    found->dram[loop] = tile.dram[loop];
    found->spm[loop] = tile.tile[loop] / array.both[loop];
    found->rf[loop] = array.rf[loop];
    found->spatial[loop] = array.spatial[loop];
  }
  found->dram_operand = dram.operand;
  found->spm_operand = spm.operand;
}

// Of the register files, the PEs and the scratchpad, over all tiles: what is used again is so for as
// many passes as the layer has iterations of its irrelevant loops, and no other operand is.
Floor ArrayFloor(const Sizes& sizes, const ArrayPart& array) {
  double passes = 1, most_irrelevant[kOperands] = {1, 1, 1};
  for (int loop = 0; loop < kLoops; ++loop) {
    const auto [least, most] = std::minmax_element(sizes[loop].begin(), sizes[loop].end());
    passes *= *least;
    for (int operand = 0; operand < kOperands; ++operand) {
      if (kIrrelevant[operand][loop]) most_irrelevant[operand] *= *most;
    }
  }
  passes = std::max(1.0, passes / array.passes_product);

  double once[kOperands], sum = 0, distribute[kOperands] = {0, 0, 0}, any = 0;
  for (int operand = 0; operand < kOperands; ++operand) {
    once[operand] = array.noc_pj[operand] + array.spm_pj[operand];
    if (operand == kOutput) once[operand] = 2 * once[operand] + array.reduce_pj;
    sum += once[operand];
    any = std::max(any, array.distribute_cycles[operand]);
    for (int other = 0; other < kOperands; ++other) {
      if (other != operand) {
        distribute[other] = std::max(distribute[other], array.distribute_cycles[operand]);
      }
    }
  }
  const double stall = array.compute_cycles + array.reduce_cycles;
  Floor floor;
  for (int operand = 0; operand < kOperands; ++operand) {
    const double reuse = most_irrelevant[operand] / array.irrelevant[operand];
    if (reuse <= 1) continue;
    double again = once[operand];
    if (operand == kOutput) {
      again = array.noc_pj[kOutput] + array.spm_pj[kOutput] + array.reduce_pj;
    }
    const double energy =
        (sum - once[operand]) * passes + again * std::max(1.0, passes / reuse);
    const double cycles = operand == kOutput
                              ? std::max(array.compute_cycles, distribute[operand])
                              : distribute[operand] + stall;
    floor.Add(cycles * passes, energy);
  }
  if (!floor.count) floor.Add((any + stall) * passes, sum * passes);
  return floor;
}

// Of DRAM and of the operations; exact but for what runs beside the DMA.
Floor TileFloor(const TilePart& tile) {
  Floor floor;
  const Choices choices = BestReuses(tile.dram_irrelevant);
  for (int i = 0; i < choices.count; ++i) {
    const Reuse reuse = choices.reuse[i];
    double cycles = 0, energy = tile.mac_pj + tile.rf_pj;
    for (int operand = 0; operand < kOperands; ++operand) {
      const double transfers = tile.passes / reuse.of(operand);
      const bool is_output = operand == kOutput;
      cycles += (is_output ? 2 : 1) * tile.dma_cycles[operand] * transfers;
      energy += tile.dma_pj[operand] * transfers;
      if (is_output) {
        energy += tile.dma_pj[operand] * (transfers - tile.passes / tile.dram_irrelevant[kOutput]);
      }
    }
    floor.Add(cycles, energy);
  }
  return floor;
}

// Rounding, of energies to whole picojoules among others, may not make a bound exceed a value.
constexpr double kSafety = 1 - 1e-9;

double Joint(Objective objective, const Floor& one, double other_cycles, double other_energy_pj) {
  double least = kInfinity;
  for (int i = 0; i < one.count; ++i) {
    const double cycles = std::max(one.cycles[i], other_cycles);
    least = std::min(least, ValueOf(objective, cycles, one.energy_pj[i] + other_energy_pj - 1));
  }
  return least * kSafety;
}

double Least(const double* values, int count) { return *std::min_element(values, values + count); }

template <typename Part>
struct Ranked {
  const Part* part;
  Floor floor;
  double bound;
};

template <typename Part>
void Rank(std::vector<Ranked<Part>>* parts) {
  std::stable_sort(parts->begin(), parts->end(),
                   [](const auto& a, const auto& b) { return a.bound < b.bound; });
}

}  // namespace

double ValueOf(Objective objective, const Cost& cost) {
  return ValueOf(objective, cost.cycles, cost.energy_pj);
}

Count Exhaust(const Layer& layer, const Architecture& arch, const Sizes& sizes,
              const Pruning& pruning, Found* found) {
  const std::vector<ArrayPart> arrays = Arrays(layer, arch, sizes, pruning);
  const std::vector<TilePart> tiles = Tiles(layer, arch, sizes, pruning);
  for (int i = 0; found && i < kObjectives; ++i) found[i].value = kInfinity;
  Count count{int64_t(arrays.size()), int64_t(tiles.size()), 0};
  for (const ArrayPart& array : arrays) {
    for (const TilePart& tile : tiles) {
      if (!Fits(array, tile)) continue;
      ++count.mappings;
      if (!found) continue;
      ForOrders(arch, array, tile, [&](const Cost& cost, Reuse spm, Reuse dram) {
        for (int i = 0; i < kObjectives; ++i) {
          const double value = ValueOf(static_cast<Objective>(i), cost);
          if (value < found[i].value) Keep(value, array, tile, spm, dram, &found[i]);
        }
      });
    }
  }
  return count;
}

Bounded Bound(const Layer& layer, const Architecture& arch, const Sizes& sizes,
              Objective objective, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  const Pruning none{};
  const std::vector<ArrayPart> arrays = Arrays(layer, arch, sizes, none);
  const std::vector<TilePart> tiles = Tiles(layer, arch, sizes, none);
  Bounded result{};
  result.count = {int64_t(arrays.size()), int64_t(tiles.size()), 0};
  result.best.value = kInfinity;
  result.bound = kInfinity;
  if (arrays.empty() || tiles.empty()) return result;

  std::vector<Ranked<TilePart>> tile_ranks;
  double least_cycles = kInfinity, least_energy = kInfinity;
  for (const TilePart& tile : tiles) {
    Ranked<TilePart> rank{&tile, TileFloor(tile), 0};
    const double cycles = Least(rank.floor.cycles, rank.floor.count);
    const double energy = Least(rank.floor.energy_pj, rank.floor.count);
    rank.floor = {};
    rank.floor.Add(cycles, energy);
    rank.bound = objective == kLeastCycles ? cycles : energy;
    least_cycles = std::min(least_cycles, cycles);
    least_energy = std::min(least_energy, energy);
    tile_ranks.push_back(rank);
  }
  Rank(&tile_ranks);
  std::vector<Ranked<ArrayPart>> array_ranks;
  for (const ArrayPart& array : arrays) {
    Ranked<ArrayPart> rank{&array, ArrayFloor(sizes, array), 0};
    rank.bound = Joint(objective, rank.floor, least_cycles, least_energy);
    array_ranks.push_back(rank);
  }
  Rank(&array_ranks);

  int64_t unwatched = 0;
  for (const Ranked<ArrayPart>& one : array_ranks) {
    if (one.bound >= result.best.value) break;
    for (const Ranked<TilePart>& other : tile_ranks) {
      // Tiles ascend in what the bound is made of.
      if (Joint(objective, one.floor, objective == kLeastCycles ? other.bound : least_cycles,
                objective == kLeastCycles ? least_energy : other.bound) >= result.best.value) {
        break;
      }
      if (++unwatched >= kUnwatched) {
        unwatched = 0;
        if (Clock::now() >= end) {
          result.bound = std::min(one.bound, result.best.value);
          return result;
        }
      }
      if (!Fits(*one.part, *other.part)) continue;
      if (Joint(objective, one.floor, other.floor.cycles[0], other.floor.energy_pj[0]) >=
          result.best.value) {
        continue;
      }
      ++result.count.mappings;
      ForOrders(arch, *one.part, *other.part, [&](const Cost& cost, Reuse spm, Reuse dram) {
        const double value = ValueOf(objective, cost);
        if (value < result.best.value) {
          Keep(value, *one.part, *other.part, spm, dram, &result.best);
        }
      });
    }
  }
  result.bound = result.best.value;
  return result;
}

}  // namespace tdse::dataflow
