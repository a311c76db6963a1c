#include "function_region.h"

#include <tvm/ffi/any.h>
#include <tvm/ffi/cast.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bound_call.h"

namespace tdse {
namespace {

namespace ffi = tvm::ffi;

ffi::Function FindMaker(const std::string& kind) {
  const std::string name = "tdse.region." + kind;
  std::optional<ffi::Function> make = ffi::Function::GetGlobal(name);
  if (make.has_value()) return *std::move(make);
  const std::optional<ffi::Function> load = ffi::Function::GetGlobal("tdse.load_region_kind");
  if (!load.has_value()) {
    throw std::runtime_error("it needs the Python package tdse, which is not loaded");
  }
  const ffi::String kind_argument(kind);
  BoundCall{*load, {kind_argument}}();
  make = ffi::Function::GetGlobal(name);
  if (!make.has_value()) {
    throw std::runtime_error("the package that brings regions of kind '" + kind +
                             "' has no function " + name);
  }
  return *std::move(make);
}

class BoundFunctionRegion final : public BoundRegion {
 public:
  explicit BoundFunctionRegion(BoundCall call) : call_(std::move(call)) {}

  void Run() override { call_(); }

 private:
  const BoundCall call_;
};

class FunctionRegion final : public Region {
 public:
  FunctionRegion(const Plan& plan, const PlanRegion& region) : region_(region) {
    const ffi::Function make = FindMaker(region.kind);
    ffi::Array<int64_t> sizes;
    for (const std::vector<TensorId>* ids : {&region.inputs, &region.outputs}) {
      for (TensorId id : *ids) sizes.push_back(static_cast<int64_t>(plan.tensors[id].size_bytes));
    }
    const Blob blob = region.blob < 0 ? Blob{} : plan.blobs[region.blob];
    const ffi::Bytes bytes(reinterpret_cast<const char*>(blob.data), blob.size);
    const BoundCall make_region{make, {bytes, static_cast<int64_t>(region.threads), sizes}};
    run_ = make_region().cast<ffi::Function>();
  }

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    BoundCall call{run_, {}};
    for (const std::vector<TensorId>* ids : {&region_.inputs, &region_.outputs}) {
      for (TensorId id : *ids) {
        call.arguments.emplace_back(reinterpret_cast<int64_t>(tensors[id].data));
      }
    }
    return std::make_unique<BoundFunctionRegion>(std::move(call));
  }

 private:
  const PlanRegion& region_;
  ffi::Function run_;
};

}  // namespace

std::unique_ptr<Region> MakeFunctionRegion(const Plan& plan, const PlanRegion& region) {
  return std::make_unique<FunctionRegion>(plan, region);
}

}  // namespace tdse
