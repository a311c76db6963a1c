// A placement before anything runs: its regions, what each costs by itself, and what they read
// from each other. python/tdse/search/placed.py is the specification.
#ifndef TDSE_EVALUATE_PLACED_H_
#define TDSE_EVALUATE_PLACED_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "heap.h"
#include "problem.h"
#include "regions.h"

namespace tdse::evaluate {

struct Genes {
  const uint8_t* variants;           // [n_ops]
  const uint8_t* cuts = nullptr;     // [n_links]; null for none
  const double* priority = nullptr;  // [n_ops]; null for zeros
  bool strict = false;
};

// What one region needs, and when it runs; two lines of the cache. The caller of a model, which
// gives it its inputs and is given its outputs, is a region that never runs.
struct alignas(64) Region {
  int32_t variant, device, memory, model, cores;
  int32_t first_made;  // deliveries from it, linked by Delivery::next_made; -1 for none
  int32_t first_read;  // deliveries to it, linked by Delivery::next_read; if memory is counted
  int32_t last_read;   // the last value that it reads
  int32_t waiting;     // deliveries that are not on their way yet
  int32_t position;    // in its device's list, for strict genes
  double work_us;
  double after_us;  // the longest way from its end to the end of the run
  double key;       // devices start the region with the least key first
  int64_t leaving_bytes, inner_bytes;
  int64_t inner_live_bytes;  // while its operators are gone through
  double arrival_us, start_us, end_us;
  double slower;  // the factor by which it is slowed down at present
};

// That a region reads a value which it did not make.
struct Delivery {
  int32_t value;
  int32_t home;       // the region that makes it, or a caller
  int32_t region;     // that reads it
  int32_t next_made;  // of the same home; -1 after the last
  const Way* way;     // from memory to memory
  double carry_us;    // on this way
  // If memory is counted.
  int32_t leaving;
  int32_t next_read;  // of the same region; -1 after the last
};

// A value that is read outside the region that makes it.
struct Leaving {
  int32_t home;
  int32_t n_left;  // regions that are still to read it
  int64_t size_bytes;
};

// One placement after the other, in memory that is allocated once.
class Placed {
 public:
  explicit Placed(const Problem& problem);

  // `counts_memory`: also what is needed for the peaks of the memories.
  void Place(const Genes& genes, bool counts_memory);

  const Regions& formed() const { return formed_; }
  int32_t n_regions() const { return formed_.size(); }
  const uint8_t* variants() const { return variants_; }
  // The region that stands for the caller of a model.
  int32_t caller(int32_t model) const { return n_regions() + model; }
  Leaving& leaving(int32_t index) { return leaving_[index]; }
  Region& region(int32_t index) { return regions_[index]; }
  const Region& region(int32_t index) const { return regions_[index]; }
  const Delivery& delivery(int32_t index) const { return deliveries_[index]; }
  // Regions that are still to read a value in a memory. Where it is made, it stays until all have.
  int32_t& n_left(int32_t leaving, int32_t memory) {
    return n_left_[static_cast<size_t>(leaving) * problem_.n_memories + memory];
  }
  int32_t n_illegal() const { return n_illegal_; }
  double energy_uj() const { return energy_uj_; }  // of the operators
  // Of a device, if memory is counted or some device's capacity is limited.
  int64_t parameter_bytes(int32_t device) const { return parameter_bytes_[device]; }

 private:
  void AddOperators();
  void AddParameters();
  void AddValues();
  void ListCrossings();
  void LinkDeliveries();
  void AddLeaving();
  void CountReaders();
  void AddInnerBytes();
  void SetKeys(const Genes& genes);
  void SetTails();
  void SetListOrder();

  const Problem& problem_;
  Regions formed_;
  const uint8_t* variants_ = nullptr;
  int32_t n_crossings_ = 0, n_leaving_ = 0, n_deliveries_ = 0, n_illegal_ = 0;
  double energy_uj_ = 0.0;
  std::vector<Region> blank_;    // by variant, and a caller's
  std::vector<Region> regions_;  // and the callers
  std::vector<Leaving> leaving_;
  std::vector<int32_t> crossing_use_;  // uses of values outside the regions that make them
  std::vector<Delivery> deliveries_;
  std::vector<int32_t> n_left_;           // by leaving value and memory
  std::vector<int64_t> is_inner_;         // by value: all bits or none
  std::vector<int64_t> parameter_bytes_;  // by device
  std::vector<int32_t> n_listed_;         // by device
  Heap listable_;
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_PLACED_H_
