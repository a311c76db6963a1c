#include "search.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace tdse::dataflow {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Leaves few mappings, and good ones.
constexpr Pruning kFirst{0.8, 0.8, 0.5, 1, 1};

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

// Of the register files, the PEs and the scratchpad, over all tiles: what is used again is so for
// as many passes as the layer has iterations of its irrelevant loops, and no other operand is.
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
    const double energy = (sum - once[operand]) * passes + again * std::max(1.0, passes / reuse);
    const double cycles = operand == kOutput ? std::max(array.compute_cycles, distribute[operand])
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

struct RankedTile {
  const TilePart* part;
  double cycles, energy_pj;  // at least
  double bound;
};

struct RankedArray {
  const ArrayPart* part;
  Floor floor;
  double bound;
};

// Arrays whose register files and PEs together hold the same: the same tiles fit them.
struct Group {
  std::vector<RankedArray> arrays;
  double bound;
};

template <typename Ranked>
void Rank(std::vector<Ranked>* ranked) {
  std::stable_sort(ranked->begin(), ranked->end(),
                   [](const auto& a, const auto& b) { return a.bound < b.bound; });
}

// No mapping with `other` is better than that with `one` and all else equal. Of a group they differ
// in nothing else, and everything grows with each of these.
bool Dominates(const ArrayPart& one, const ArrayPart& other) {
  return one.compute_cycles <= other.compute_cycles && one.reduce_cycles <= other.reduce_cycles &&
         std::equal(one.noc_pj, one.noc_pj + kOperands, other.noc_pj, std::less_equal<double>());
}

// Groups of arrays that none of their group dominates, by their bounds.
std::vector<Group> MakeGroups(const Sizes& sizes, const std::vector<ArrayPart>& arrays,
                              Objective objective, double least_cycles, double least_energy) {
  std::vector<const ArrayPart*> sorted;
  for (const ArrayPart& array : arrays) sorted.push_back(&array);
  std::stable_sort(sorted.begin(), sorted.end(), [](const ArrayPart* a, const ArrayPart* b) {
    return std::lexicographical_compare(a->both, a->both + kLoops, b->both, b->both + kLoops);
  });
  std::vector<Group> groups;
  for (size_t i = 0; i < sorted.size();) {
    const ArrayPart& first = *sorted[i];
    std::vector<const ArrayPart*> kept;
    for (; i < sorted.size() && std::equal(first.both, first.both + kLoops, sorted[i]->both); ++i) {
      const ArrayPart& one = *sorted[i];
      const auto beats = [&](const ArrayPart* other) { return Dominates(*other, one); };
      if (std::any_of(kept.begin(), kept.end(), beats)) continue;
      kept.erase(std::remove_if(kept.begin(), kept.end(),
                                [&](const ArrayPart* other) { return Dominates(one, *other); }),
                 kept.end());
      kept.push_back(&one);
    }
    Group group;
    for (const ArrayPart* array : kept) {
      const Floor floor = ArrayFloor(sizes, *array);
      group.arrays.push_back({array, floor, Joint(objective, floor, least_cycles, least_energy)});
    }
    Rank(&group.arrays);
    group.bound = group.arrays.front().bound;
    groups.push_back(std::move(group));
  }
  Rank(&groups);
  return groups;
}

}  // namespace

double ValueOf(Objective objective, const Cost& cost) {
  return ValueOf(objective, cost.cycles, cost.energy_pj);
}

Count Exhaust(const Layer& layer, const Architecture& arch, const Sizes& sizes,
              const Pruning& pruning, Found* found) {
  Count count;
  const std::vector<ArrayPart> arrays = Arrays(layer, arch, sizes, pruning, nullptr, &count.arrays);
  const std::vector<TilePart> tiles = Tiles(layer, arch, sizes, pruning);
  count.tiles = int64_t(tiles.size());
  for (int i = 0; found && i < kObjectives; ++i) found[i].value = kInfinity;
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

Bounded Bound(const Layer& layer, const Architecture& arch, const Sizes& sizes, Objective objective,
              double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  const std::vector<TilePart> tiles = Tiles(layer, arch, sizes, {});
  Bounded result{};
  result.count.tiles = int64_t(tiles.size());
  result.best.value = result.bound = kInfinity;
  if (tiles.empty()) return result;
  // A good mapping to begin with, of those that use most of the PEs and memories.
  Sizes own;
  for (int loop = 0; loop < kLoops; ++loop) own[loop] = {sizes[loop].front()};
  Found first[kObjectives];
  result.count.mappings = Exhaust(layer, arch, own, kFirst, first).mappings;
  result.best = first[objective];

  std::vector<RankedTile> ranked;
  double least_cycles = kInfinity, least_energy = kInfinity;
  for (const TilePart& tile : tiles) {
    const Floor floor = TileFloor(tile);
    const double cycles = Least(floor.cycles, floor.count);
    const double energy = Least(floor.energy_pj, floor.count);
    ranked.push_back({&tile, cycles, energy, objective == kLeastCycles ? cycles : energy});
    least_cycles = std::min(least_cycles, cycles);
    least_energy = std::min(least_energy, energy);
  }
  Rank(&ranked);

  double least_macs = 1;
  for (int loop = 0; loop < kLoops; ++loop) {
    least_macs *= *std::min_element(sizes[loop].begin(), sizes[loop].end());
  }
  // Arrays that cannot be better than that one are not even kept.
  bool is_over = false;
  const Worth worth{[&](double pes) {
                      is_over = is_over || Clock::now() >= end;
                      if (is_over) return false;
                      const double cycles = std::max(least_macs / pes, least_cycles);
                      return ValueOf(objective, cycles, least_energy - 1) * kSafety <
                             result.best.value;
                    },
                    [&](const ArrayPart& array) {
                      return Joint(objective, ArrayFloor(sizes, array), least_cycles,
                                   least_energy) < result.best.value;
                    }};
  const std::vector<ArrayPart> arrays =
      Arrays(layer, arch, sizes, {}, &worth, &result.count.arrays);
  if (is_over) {
    const double least = ValueOf(objective, least_cycles, std::max(0.0, least_energy - 1));
    result.bound = std::min(least * kSafety, result.best.value);
    return result;
  }
  const std::vector<Group> groups =
      MakeGroups(sizes, arrays, objective, least_cycles, least_energy);

  std::vector<const RankedTile*> fitting;
  for (const Group& group : groups) {
    if (group.bound >= result.best.value) break;
    if (Clock::now() >= end) {
      result.bound = group.bound;
      return result;
    }
    fitting.clear();
    for (const RankedTile& tile : ranked) {
      if (Fits(*group.arrays.front().part, *tile.part)) fitting.push_back(&tile);
    }
    for (const RankedArray& array : group.arrays) {
      if (array.bound >= result.best.value) break;
      for (const RankedTile* tile : fitting) {
        // Tiles ascend in what the bound is made of.
        const bool by_cycles = objective == kLeastCycles;
        if (Joint(objective, array.floor, by_cycles ? tile->cycles : least_cycles,
                  by_cycles ? least_energy : tile->energy_pj) >= result.best.value) {
          break;
        }
        if (Joint(objective, array.floor, tile->cycles, tile->energy_pj) >= result.best.value) {
          continue;
        }
        ++result.count.mappings;
        ForOrders(arch, *array.part, *tile->part, [&](const Cost& cost, Reuse spm, Reuse dram) {
          const double value = ValueOf(objective, cost);
          if (value < result.best.value) {
            Keep(value, *array.part, *tile->part, spm, dram, &result.best);
          }
        });
      }
    }
  }
  result.bound = result.best.value;
  return result;
}

}  // namespace tdse::dataflow
