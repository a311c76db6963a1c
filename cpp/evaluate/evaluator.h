// One run of all models for each placement of a batch: when everything happens, and what it costs.
//
// python/tdse/search/reference.py is the specification. Additions and comparisons are made in its
// order, so that results are equal to the last bit; no multiplication may be fused with an
// addition.
#ifndef TDSE_EVALUATE_EVALUATOR_H_
#define TDSE_EVALUATE_EVALUATOR_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "problem.h"
#include "regions.h"

namespace tdse::evaluate {

// The rules in the order of python/tdse/search/schedule.py.
enum Rule {
  kIllegal,
  kForbiddenPair,
  kSingleRegion,
  kPrefix,
  kNoLink,
  kParameters,
  kMemory,
  kDeadline,
  kPeriod,
  kEnergy,
  kRules
};

// The figures of a placement: these, then kRules violations, then the latency of each model, then
// the peak of each memory.
enum Figure { kMakespan, kPeriodLength, kActiveEnergy, kTotalEnergy, kRegionCount, kFigures };

struct Genes {
  const uint8_t* variants;           // [n_ops]
  const uint8_t* cuts = nullptr;     // [n_links]; null for none
  const double* priority = nullptr;  // [n_ops]; null for zeros
  bool strict = false;
};

struct Transfer {
  int32_t value, source, target;
  double start_us, end_us;
};

// Evaluates one placement after the other in memory that is allocated once; for one thread.
class Evaluator {
 public:
  // Regions with their keys: the least key first, then the lowest region.
  using Heap = std::vector<std::pair<double, int32_t>>;

  explicit Evaluator(const ProblemArrays& arrays);
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  const Problem& problem() const { return problem_; }
  // How many numbers Evaluate writes.
  int32_t n_figures() const;
  void Evaluate(const Genes& genes, double* figures);

  // Of the last placement.
  const Regions& regions() const { return regions_; }
  double start_us(int32_t region) const { return start_us_[region]; }
  double end_us(int32_t region) const { return end_us_[region]; }
  const std::vector<Transfer>& transfers() const { return transfers_; }

 private:
  // An operator that reads a value which its region did not make.
  struct Reader {
    int32_t value;
    int32_t region;
    int32_t next;  // of the same region; -1 after the last
  };

  void Place(const Genes& genes);
  void AddWork();
  void AddReaders(int32_t value, int32_t home);
  void CountInnerBytes();
  void SetKeys(const Genes& genes);
  void SetTails();
  void SetListOrder();

  void Run();
  void StartOn(int32_t device, double now_us);
  void Rate(double now_us);
  void Complete(int32_t region, double now_us);
  void HandOver(int32_t value, int32_t source, double now_us);
  double Carry(int32_t value, int32_t source, int32_t target, int32_t model, double now_us);
  void Release(const Reader& reader, int32_t memory);
  void Take(int32_t memory, int64_t size_bytes);

  double CarryTime(int32_t value, int32_t source, int32_t target) const;
  int32_t HomeMemory(int32_t value) const;
  void Load();
  void CountBrokenRules(double* violations) const;

  const Problem problem_;
  Regions regions_;
  const uint8_t* variants_ = nullptr;
  bool strict_ = false;

  // By region.
  std::vector<int32_t> variant_, device_, memory_, model_;
  std::vector<int32_t> first_made_, last_made_;  // values that leave it, linked by next_made_
  std::vector<int32_t> first_read_;              // what it reads, linked by Reader::next
  std::vector<int32_t> waiting_;                 // readers that do not have their value yet
  std::vector<int32_t> seen_;                    // the last value found to be read by the region
  std::vector<int64_t> leaving_bytes_, inner_bytes_;
  std::vector<double> work_us_, tail_us_, key_;
  std::vector<double> arrival_us_, start_us_, end_us_, slower_;
  std::vector<int32_t> position_;  // in its device's list, for strict genes

  // By value.
  std::vector<int32_t> next_made_, reader_begin_, readers_left_;
  std::vector<int64_t> is_inner_;  // all bits or none
  // By value and memory.
  std::vector<double> copy_us_;        // when the copy is there; negative if it was not asked for
  std::vector<int32_t> copy_readers_;  // readers in that memory that are not done
  std::vector<Reader> readers_;        // by value

  // By device.
  std::vector<Heap> ready_;
  std::vector<int32_t> free_cores_, n_started_, n_running_, slots_;
  std::vector<int64_t> device_parameters_;
  // By device, then by bus.
  std::vector<double> load_us_, utilisation_;
  // By memory, by bus, by model.
  std::vector<int64_t> live_bytes_, peak_bytes_;
  std::vector<double> bus_free_us_, latency_us_;

  Heap released_;
  std::vector<int32_t> running_, finished_;
  std::vector<Transfer> transfers_;
  int32_t n_illegal_ = 0, n_without_link_ = 0;
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_EVALUATOR_H_
