#include "called_region.h"

#include <stdexcept>
#include <vector>

namespace tdse {
namespace {

class BoundCalledRegion final : public BoundRegion {
 public:
  BoundCalledRegion(const tdse_region_functions& functions, void* region,
                    std::vector<void*> addresses)
      : functions_(functions), region_(region), addresses_(std::move(addresses)) {}

  void Run() override {
    if (functions_.run(region_, addresses_.data(), addresses_.size()) != 0) {
      throw std::runtime_error(tdse_error());
    }
  }

 private:
  const tdse_region_functions functions_;
  void* const region_;
  const std::vector<void*> addresses_;
};

class CalledRegion final : public Region {
 public:
  CalledRegion(const tdse_region_functions& functions, const Plan& plan, const PlanRegion& region)
      : functions_(functions), planned_(region) {
    std::vector<size_t> sizes;
    for (const std::vector<TensorId>* ids : {&region.inputs, &region.outputs}) {
      for (TensorId id : *ids) sizes.push_back(plan.tensors[id].size_bytes);
    }
    const Blob blob = region.blob < 0 ? Blob{} : plan.blobs[region.blob];
    region_ = functions_.make(region.kind.c_str(), blob.data, blob.size, region.threads,
                              sizes.data(), sizes.size());
    if (region_ == nullptr) throw std::runtime_error(tdse_error());
  }
  ~CalledRegion() override { functions_.drop(region_); }

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    std::vector<void*> addresses;
    for (const std::vector<TensorId>* ids : {&planned_.inputs, &planned_.outputs}) {
      for (TensorId id : *ids) addresses.push_back(tensors[id].data);
    }
    return std::make_unique<BoundCalledRegion>(functions_, region_, std::move(addresses));
  }

 private:
  const tdse_region_functions functions_;
  const PlanRegion& planned_;
  void* region_ = nullptr;
};

}  // namespace

std::unique_ptr<Region> MakeCalledRegion(const tdse_region_functions& functions, const Plan& plan,
                                         const PlanRegion& region) {
  return std::make_unique<CalledRegion>(functions, plan, region);
}

}  // namespace tdse
