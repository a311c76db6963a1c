// Regions of kind `openvino`: a model in OpenVINO's own format, compiled for the CPU.
//
// The function `tdse.region.openvino` is all that the executor knows of this library.

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/ffi/string.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "openvino_api.h"

namespace tdse {
namespace openvino {
namespace {

namespace ffi = tvm::ffi;

// A handle of OpenVINO that is given back when it goes out of scope.
template <typename T>
using Handle = std::unique_ptr<T, void (*)(T*)>;

// The blob: u64 bytes of the description, the description (XML), and then the weights.
constexpr size_t kHeaderBytes = sizeof(uint64_t);

// An input or output as OpenVINO wants to be told of it.
struct Border {
  ElementType type = 0;
  std::vector<int64_t> dims;
};

// The model bound to the buffers of one frame.
struct Bound {
  std::vector<int64_t> addresses;
  std::vector<Handle<Tensor>> tensors;
  Handle<Request> request;
};

class OpenvinoRegion {
 public:
  OpenvinoRegion(ffi::Bytes blob, int64_t threads, const ffi::Array<int64_t>& sizes)
      : api_(GetApi()), blob_(std::move(blob)), compiled_(nullptr, api_.compiled_model_free) {
    Compile(threads);
    size_t inputs = 0, outputs = 0;
    Check(api_.compiled_model_inputs_size(compiled_.get(), &inputs), "describe the region");
    Check(api_.compiled_model_outputs_size(compiled_.get(), &outputs), "describe the region");
    inputs_ = inputs;
    for (size_t i = 0; i < inputs; ++i) {
      AddBorder(api_.compiled_model_input_by_index, i);
    }
    for (size_t i = 0; i < outputs; ++i) {
      AddBorder(api_.compiled_model_output_by_index, i);
    }
    if (borders_.size() != sizes.size()) {
      throw std::runtime_error("openvino: the inputs and outputs are not those of the plan");
    }
    for (size_t i = 0; i < borders_.size(); ++i) {
      // A tensor of no memory says what size the model wants.
      alignas(64) static char nothing[64];
      size_t bytes = 0;
      Check(api_.tensor_get_byte_size(MakeTensor(borders_[i], nothing).get(), &bytes),
            "say the size of a tensor");
      if (static_cast<int64_t>(bytes) != sizes[i]) {
        throw std::runtime_error("openvino: the inputs and outputs are not those of the plan");
      }
    }
  }

  void Run(ffi::PackedArgs addresses) {
    Check(api_.infer_request_infer(BoundTo(addresses).request.get()), "run the region");
  }

 private:
  void Compile(int64_t threads) {
    uint64_t description_bytes = 0;
    if (blob_.size() < kHeaderBytes) throw std::runtime_error("openvino: the region has no model");
    std::memcpy(&description_bytes, blob_.data(), kHeaderBytes);
    if (description_bytes > blob_.size() - kHeaderBytes) {
      throw std::runtime_error("openvino: the region's model ends too early");
    }
    const char* description = blob_.data() + kHeaderBytes;
    int64_t weight_bytes = static_cast<int64_t>(blob_.size() - kHeaderBytes - description_bytes);
    Handle<Tensor> weights(nullptr, api_.tensor_free);
    if (weight_bytes > 0) {
      weights =
          MakeTensor({kU8, {weight_bytes}}, const_cast<char*>(description) + description_bytes);
    }
    Model* model = nullptr;
    Check(api_.core_read_model_from_memory_buffer(GetCore(), description, description_bytes,
                                                  weights.get(), &model),
          "read the region");
    const Handle<Model> owned(model, api_.model_free);
    CompiledModel* compiled = nullptr;
    const std::string count = std::to_string(threads);
    // One run at a time, on the CPUs of the lane, and in the types that the model says.
    const char* const options[] = {
        "INFERENCE_NUM_THREADS",    count.c_str(), "NUM_STREAMS",        "1",
        "PERFORMANCE_HINT",         "LATENCY",     "ENABLE_CPU_PINNING", "NO",
        "INFERENCE_PRECISION_HINT", "f32"};
    Check(api_.core_compile_model(GetCore(), model, "CPU", sizeof(options) / sizeof(*options),
                                  &compiled, options[0], options[1], options[2], options[3],
                                  options[4], options[5], options[6], options[7], options[8],
                                  options[9]),
          "compile the region");
    compiled_.reset(compiled);
  }

  void AddBorder(decltype(Api::compiled_model_input_by_index) port_of, size_t index) {
    Port* port = nullptr;
    Check(port_of(compiled_.get(), index, &port), "describe the region");
    const Handle<Port> owned(port, api_.output_const_port_free);
    Border border;
    Check(api_.port_get_element_type(port, &border.type), "describe the region");
    Shape shape{};
    Check(api_.const_port_get_shape(port, &shape), "describe the region");
    border.dims.assign(shape.dims, shape.dims + shape.rank);
    api_.shape_free(&shape);
    borders_.push_back(std::move(border));
  }

  Handle<Tensor> MakeTensor(const Border& border, void* data) const {
    const Shape shape = {static_cast<int64_t>(border.dims.size()),
                         const_cast<int64_t*>(border.dims.data())};
    Tensor* tensor = nullptr;
    Check(api_.tensor_create_from_host_ptr(border.type, shape, data, &tensor), "use a buffer");
    return {tensor, api_.tensor_free};
  }

  // The request of the frame with these addresses; there are few, mostly one.
  const Bound& BoundTo(ffi::PackedArgs addresses) {
    for (const Bound& bound : bound_) {
      bool is_same = true;
      for (size_t i = 0; is_same && i < bound.addresses.size(); ++i) {
        is_same = addresses[i].cast<int64_t>() == bound.addresses[i];
      }
      if (is_same) return bound;
    }
    bound_.push_back(Bind(addresses));
    return bound_.back();
  }

  Bound Bind(ffi::PackedArgs addresses) const {
    if (static_cast<size_t>(addresses.size()) != borders_.size()) {
      throw std::runtime_error("openvino: the region has other inputs and outputs");
    }
    Request* request = nullptr;
    Check(api_.compiled_model_create_infer_request(compiled_.get(), &request), "make a request");
    Bound bound{{}, {}, Handle<Request>(request, api_.infer_request_free)};
    for (size_t i = 0; i < borders_.size(); ++i) {
      const int64_t address = addresses[i].cast<int64_t>();
      bound.addresses.push_back(address);
      bound.tensors.push_back(MakeTensor(borders_[i], reinterpret_cast<void*>(address)));
      const Tensor* tensor = bound.tensors.back().get();
      Check(i < inputs_
                ? api_.infer_request_set_input_tensor_by_index(request, i, tensor)
                : api_.infer_request_set_output_tensor_by_index(request, i - inputs_, tensor),
            "use a buffer");
    }
    return bound;
  }

  const Api& api_;
  const ffi::Bytes blob_;  // the model may use weights in place
  Handle<CompiledModel> compiled_;
  size_t inputs_ = 0;
  std::vector<Border> borders_;  // inputs, then outputs
  std::vector<Bound> bound_;
};

// What `call` does; a function of tvm_ffi may throw nothing but its own kind of error.
template <typename Call>
auto Translated(const Call& call) {
  try {
    return call();
  } catch (const ffi::Error&) {
    throw;
  } catch (const std::exception& error) {
    TVM_FFI_THROW(RuntimeError) << error.what();
  }
  TVM_FFI_UNREACHABLE();
}

ffi::Function MakeRegion(const ffi::Bytes& blob, int64_t threads,
                         const ffi::Array<int64_t>& sizes) {
  return Translated([&] {
    auto region = std::make_shared<OpenvinoRegion>(blob, threads, sizes);
    return ffi::Function::FromPacked([region](ffi::PackedArgs addresses, ffi::Any*) {
      Translated([&] { region->Run(addresses); });
    });
  });
}

}  // namespace

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("tdse.region.openvino", MakeRegion)
      .def("tdse_openvino.set_library",
           [](const ffi::String& path) { SetLibrary(std::string(path)); });
}

}  // namespace openvino
}  // namespace tdse
