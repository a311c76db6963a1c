#include "emulated_region.h"

#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tdse {
namespace {

constexpr int64_t kNanosecondsPerSecond = 1000000000;
// Far above any region, far below what could overflow.
constexpr uint64_t kMaxModelledNs = 3600ull * kNanosecondsPerSecond;

struct Header {
  uint64_t modelled_ns = 0;
  EmulatedResult result = EmulatedResult::kCarried;
};

Header ReadHeader(const Plan& plan, const PlanRegion& region) {
  if (region.blob < 0 || plan.blobs[region.blob].size < kEmulatedHeaderBytes) {
    throw std::runtime_error("the region does not say what it would take");
  }
  const uint8_t* data = plan.blobs[region.blob].data;
  Header header;
  uint32_t result = 0;
  std::memcpy(&header.modelled_ns, data, sizeof(header.modelled_ns));
  std::memcpy(&result, data + sizeof(header.modelled_ns), sizeof(result));
  if (header.modelled_ns > kMaxModelledNs) {
    throw std::runtime_error("the region would take more than an hour");
  }
  header.result = static_cast<EmulatedResult>(result);
  return header;
}

// As CLOCK_MONOTONIC counts, which is what the steady clock reads.
int64_t Nanoseconds(Clock::time_point time) {
  return std::chrono::nanoseconds(time.time_since_epoch()).count();
}

// A thread that is not a real-time one may be woken late by its timer slack, by default 50 us.
class NoTimerSlack {
 public:
  NoTimerSlack() : before_(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)) {
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  }
  ~NoTimerSlack() {
    if (before_ > 0) prctl(PR_SET_TIMERSLACK, before_, 0, 0, 0);
  }
  NoTimerSlack(const NoTimerSlack&) = delete;
  NoTimerSlack& operator=(const NoTimerSlack&) = delete;

 private:
  const int before_;
};

void SleepUntil(int64_t deadline_ns) {
  const NoTimerSlack no_slack;
  timespec deadline{};
  deadline.tv_sec = static_cast<time_t>(deadline_ns / kNanosecondsPerSecond);
  deadline.tv_nsec = static_cast<decltype(deadline.tv_nsec)>(deadline_ns % kNanosecondsPerSecond);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr) == EINTR) {
  }
}

// Bytes that are copied from one place to another.
struct Copy {
  const void* from;
  void* to;
  size_t bytes;
};

class BoundEmulatedRegion final : public BoundRegion {
 public:
  BoundEmulatedRegion(uint64_t modelled_ns, std::vector<Copy> copies,
                      std::unique_ptr<BoundRegion> host)
      : modelled_ns_(static_cast<int64_t>(modelled_ns)),
        copies_(std::move(copies)),
        host_(std::move(host)) {}

  void Run() override { RunSince(Clock::now()); }

  void RunSince(Clock::time_point ready) override {
    // Of the device that this thread stands for: it is free again when the modelled time is over,
    // not when the thread is awake.
    thread_local int64_t free_ns = 0;
    const int64_t deadline_ns = std::max(free_ns, Nanoseconds(ready)) + modelled_ns_;
    if (host_ != nullptr) host_->Run();
    for (const Copy& copy : copies_) {
      if (copy.bytes > 0) std::memcpy(copy.to, copy.from, copy.bytes);
    }
    free_ns = std::max(deadline_ns, Nanoseconds(Clock::now()));
    SleepUntil(deadline_ns);
  }

 private:
  const int64_t modelled_ns_;
  const std::vector<Copy> copies_;
  const std::unique_ptr<BoundRegion> host_;  // none where nothing is computed
};

// An output and its value.
struct Recorded {
  TensorId id;
  Blob value;
};

class EmulatedRegion final : public Region {
 public:
  EmulatedRegion(const Plan& plan, const PlanRegion& region, const RegionFactories& host)
      : region_(region), header_(ReadHeader(plan, region)) {
    const Blob& blob = plan.blobs[region.blob];
    const Blob content = {blob.data + kEmulatedHeaderBytes, blob.size - kEmulatedHeaderBytes};
    switch (header_.result) {
      case EmulatedResult::kCarried:
        RequireTransfer(plan);
        return;
      case EmulatedResult::kRecorded:
        Record(plan, content);
        return;
      case EmulatedResult::kLiteRt:
        MakeHost(plan, content, "litert", host);
        return;
      case EmulatedResult::kLiteRtInterpreter:
        MakeHost(plan, content, "litert_interpreter", host);
        return;
    }
    throw std::runtime_error("the region does not say how it comes by its outputs");
  }

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    std::vector<Copy> copies;
    for (const Recorded& one : recorded_) {
      copies.push_back({one.value.data, tensors[one.id].data, one.value.size});
    }
    if (header_.result == EmulatedResult::kCarried) {
      copies.push_back({tensors[region_.inputs[0]].data, tensors[region_.outputs[0]].data, bytes_});
    }
    auto host = host_ == nullptr ? nullptr : host_->Bind(tensors);
    return std::make_unique<BoundEmulatedRegion>(header_.modelled_ns, std::move(copies),
                                                 std::move(host));
  }

 private:
  void RequireTransfer(const Plan& plan) {
    const bool is_one_to_one = region_.inputs.size() == 1 && region_.outputs.size() == 1;
    if (is_one_to_one) bytes_ = plan.tensors[region_.outputs[0]].size_bytes;
    if (!is_one_to_one || plan.tensors[region_.inputs[0]].size_bytes != bytes_) {
      throw std::runtime_error("a transfer has one input and one output of its size");
    }
  }

  void Record(const Plan& plan, Blob content) {
    const auto take = [&content](size_t bytes) {
      if (bytes > content.size) throw std::runtime_error("what was recorded ends too early");
      const Blob taken = {content.data, bytes};
      content = {content.data + bytes, content.size - bytes};
      return taken;
    };
    const Blob is_recorded = take(region_.outputs.size());
    for (size_t i = 0; i < region_.outputs.size(); ++i) {
      const TensorId id = region_.outputs[i];
      if (is_recorded.data[i] != 0) recorded_.push_back({id, take(plan.tensors[id].size_bytes)});
    }
    if (content.size > 0) throw std::runtime_error("more was recorded than the region outputs");
  }

  void MakeHost(const Plan& plan, Blob slice, const std::string& kind,
                const RegionFactories& host) {
    const auto factory = host.find(kind);
    if (factory == host.end()) {
      throw std::runtime_error("this library cannot run regions of kind '" + kind + "'");
    }
    host_plan_.tensors = plan.tensors;
    host_plan_.blobs = {slice};
    host_plan_.regions = {region_};
    host_plan_.regions[0].kind = kind;
    host_plan_.regions[0].blob = 0;
    host_ = factory->second(host_plan_, host_plan_.regions[0]);
  }

  const PlanRegion& region_;
  const Header header_;
  std::vector<Recorded> recorded_;
  size_t bytes_ = 0;  // of a transfer
  Plan host_plan_;    // of what is computed here; outlives `host_`
  std::unique_ptr<Region> host_;
};

}  // namespace

std::unique_ptr<Region> MakeEmulatedRegion(const Plan& plan, const PlanRegion& region,
                                           const RegionFactories& host) {
  return std::make_unique<EmulatedRegion>(plan, region, host);
}

}  // namespace tdse
