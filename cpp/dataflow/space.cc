#include "space.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace tdse::dataflow {
namespace {

std::vector<int32_t> Divisors(int32_t number) {
  std::vector<int32_t> divisors;
  for (int32_t one = 1; one <= number; ++one) {
    if (number % one == 0) divisors.push_back(one);
  }
  return divisors;
}

double RfElements(const Layer& layer, const int32_t* rf) {
  double elements = 0;
  for (int operand = 0; operand < kOperands; ++operand) elements += Elements(layer, operand, rf);
  return elements;
}

double SpmBytes(const Layer& layer, const Architecture& arch, const int32_t* tile) {
  return RfElements(layer, tile) * arch.element_bytes;
}

// Goes through the loops one after the other, first in space and then in register files; what does
// not fit with one iteration of all further loops does not fit at all.
class ArrayFinder {
 public:
  ArrayFinder(const Layer& layer, const Architecture& arch, const Sizes& sizes,
              const Pruning& pruning, const Worth* worth)
      : layer_(layer), arch_(arch), sizes_(sizes), pruning_(pruning), worth_(worth) {
    for (int loop = 0; loop < kLoops; ++loop) {
      std::set<int32_t> factors;
      for (const int32_t size : sizes[loop]) {
        for (const int32_t factor : Divisors(size)) factors.insert(factor);
      }
      factors_[loop].assign(factors.begin(), factors.end());
    }
    std::fill(rf_, rf_ + kLoops, 1);
    std::fill(spatial_, spatial_ + kLoops, 1);
  }

  std::vector<ArrayPart> Find(int64_t* count) {
    Spread(0, 1);
    *count += count_;
    return std::move(found_);
  }

 private:
  void Spread(int loop, double pes) {
    if (loop == kLoops) {
      if (pes / arch_.pes < pruning_.least_pe_use) return;
      if (!worth_ || worth_->pes(pes)) Hold(0);
      return;
    }
    for (const int32_t factor : factors_[loop]) {
      if (pes * factor > arch_.pes) break;
      if (pruning_.no_spatial_reduction && kIrrelevant[kOutput][loop] && factor > 1) break;
      spatial_[loop] = factor;
      Spread(loop + 1, pes * factor);
    }
    spatial_[loop] = 1;
  }

  void Hold(int loop) {
    if (loop == kLoops) {
      if (RfElements(layer_, rf_) / arch_.rf_elements < pruning_.least_rf_use) return;
      ++count_;
      const ArrayPart array = MakeArray(layer_, arch_, rf_, spatial_);
      if (!worth_ || worth_->array(array)) found_.push_back(array);
      return;
    }
    const int32_t spatial = spatial_[loop];
    for (const int32_t factor : factors_[loop]) {
      rf_[loop] = factor;
      // What fits with a factor fits with each smaller one.
      if (RfElements(layer_, rf_) > arch_.rf_elements) break;
      if (Divides(factor * spatial, sizes_[loop])) Hold(loop + 1);
    }
    rf_[loop] = 1;
  }

  static bool Divides(int32_t factor, const std::vector<int32_t>& sizes) {
    return std::any_of(sizes.begin(), sizes.end(),
                       [&](int32_t size) { return size % factor == 0; });
  }

  const Layer& layer_;
  const Architecture& arch_;
  const Sizes& sizes_;
  const Pruning& pruning_;
  const Worth* worth_;
  std::vector<int32_t> factors_[kLoops];
  int32_t rf_[kLoops], spatial_[kLoops];
  int64_t count_ = 0;
  std::vector<ArrayPart> found_;
};

class TileFinder {
 public:
  TileFinder(const Layer& layer, const Architecture& arch, const Sizes& sizes,
             const Pruning& pruning)
      : layer_(layer), arch_(arch), pruning_(pruning) {
    for (int loop = 0; loop < kLoops; ++loop) {
      const bool is_filter = loop == kFx || loop == kFy;
      for (const int32_t size : sizes[loop]) {
        for (const int32_t tile : Divisors(size)) {
          if (pruning.whole_filters && is_filter && tile != size) continue;
          pairs_[loop].push_back({tile, size / tile});
        }
      }
      std::sort(pairs_[loop].begin(), pairs_[loop].end());
      tile_[loop] = dram_[loop] = 1;
    }
  }

  std::vector<TilePart> Find() {
    Extend(0);
    return std::move(found_);
  }

 private:
  void Extend(int loop) {
    if (loop == kLoops) {
      const double capacity = arch_.spm_banks * arch_.bank_bytes;
      if (FitsScratchpad(layer_, arch_, tile_) &&
          SpmBytes(layer_, arch_, tile_) / capacity >= pruning_.least_spm_use) {
        found_.push_back(MakeTile(layer_, arch_, dram_, tile_));
      }
      return;
    }
    for (const auto& [tile, dram] : pairs_[loop]) {
      tile_[loop] = tile;
      dram_[loop] = dram;
      if (!FitsScratchpad(layer_, arch_, tile_)) break;  // pairs ascend
      Extend(loop + 1);
    }
    tile_[loop] = dram_[loop] = 1;
  }

  const Layer& layer_;
  const Architecture& arch_;
  const Pruning& pruning_;
  std::vector<std::pair<int32_t, int32_t>> pairs_[kLoops];  // in the tile and in DRAM
  int32_t tile_[kLoops], dram_[kLoops];
  std::vector<TilePart> found_;
};

}  // namespace

std::vector<ArrayPart> Arrays(const Layer& layer, const Architecture& arch, const Sizes& sizes,
                              const Pruning& pruning, const Worth* worth, int64_t* count) {
  return ArrayFinder(layer, arch, sizes, pruning, worth).Find(count);
}

std::vector<TilePart> Tiles(const Layer& layer, const Architecture& arch, const Sizes& sizes,
                            const Pruning& pruning) {
  return TileFinder(layer, arch, sizes, pruning).Find();
}

bool FitsScratchpad(const Layer& layer, const Architecture& arch, const int32_t* tile) {
  double banks = 0;
  for (int operand = 0; operand < kOperands; ++operand) {
    banks += std::ceil(Elements(layer, operand, tile) * arch.element_bytes / arch.bank_bytes);
  }
  return banks <= arch.spm_banks && SpmBytes(layer, arch, tile) <= arch.spm_banks * arch.bank_bytes;
}

}  // namespace tdse::dataflow
