// The part of LiteRT's C API that tdse calls, found in libLiteRt.so at run time.
//
// The ai-edge-litert wheel carries the library without its headers, so its functions and structures
// are declared here. They are those of the version below; the Python side checks the wheel's
// version before the library is loaded.
#ifndef TDSE_EXECUTOR_LITERT_API_H_
#define TDSE_EXECUTOR_LITERT_API_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace tdse {
namespace litert {

constexpr char kExpectedVersion[] = "2.3";

using Status = int;
constexpr Status kOk = 0;

using Environment = struct EnvironmentT*;
using Model = struct ModelT*;
using Options = struct OptionsT*;
using OpaqueOptions = struct OpaqueOptionsT*;
using CompiledModel = struct CompiledModelT*;
using Signature = struct SignatureT*;
using Tensor = struct TensorT*;
using TensorBuffer = struct TensorBufferT*;
using TensorBufferRequirements = struct TensorBufferRequirementsT*;

constexpr int kMaxRank = 8;

struct Layout {
  uint32_t rank : 7;
  bool has_strides : 1;
  int32_t dimensions[kMaxRank];  // less than 0: not known before the model runs
  uint32_t strides[kMaxRank];
};

struct RankedTensorType {
  int element_type;  // TfLiteType
  Layout layout;
};
static_assert(sizeof(RankedTensorType) == 72, "LiteRtRankedTensorType of LiteRT 2.x");

enum TensorTypeId { kRankedTensorType = 0, kUnrankedTensorType = 1 };

struct EnvironmentOption {
  int tag;
  struct {
    int type;
    int64_t value;
  } value;
};
static_assert(sizeof(EnvironmentOption) == 24, "LiteRtEnvOption of LiteRT 2.x");

enum HardwareAccelerator { kCpu = 1 };

// One entry for each function: result, name without the prefix LiteRt, parameters.
#define TDSE_LITERT_FUNCTIONS(F)                                                                   \
  F(Status, CreateEnvironment, int, const EnvironmentOption*, Environment*)                        \
  F(Status, CreateModelFromBuffer, Environment, const void*, size_t, Model*)                       \
  F(void, DestroyModel, Model)                                                                     \
  F(Status, CreateOptions, Options*)                                                               \
  F(void, DestroyOptions, Options)                                                                 \
  F(Status, SetOptionsHardwareAccelerators, Options, int)                                          \
  F(Status, CreateOpaqueOptions, const char*, void*, void (*)(void*), OpaqueOptions*)              \
  F(void, DestroyOpaqueOptions, OpaqueOptions)                                                     \
  F(Status, AddOpaqueOptions, Options, OpaqueOptions)                                              \
  F(Status, CreateCompiledModel, Environment, Model, Options, CompiledModel*)                      \
  F(void, DestroyCompiledModel, CompiledModel)                                                     \
  F(Status, RunCompiledModel, CompiledModel, size_t, size_t, TensorBuffer*, size_t, TensorBuffer*) \
  F(Status, GetModelSignature, Model, size_t, Signature*)                                          \
  F(Status, GetNumSignatureInputs, Signature, size_t*)                                             \
  F(Status, GetNumSignatureOutputs, Signature, size_t*)                                            \
  F(Status, GetSignatureInputName, Signature, size_t, const char**)                                \
  F(Status, GetSignatureOutputName, Signature, size_t, const char**)                               \
  F(Status, GetSignatureInputTensorByIndex, Signature, size_t, Tensor*)                            \
  F(Status, GetSignatureOutputTensorByIndex, Signature, size_t, Tensor*)                           \
  F(Status, GetTensorTypeId, Tensor, TensorTypeId*)                                                \
  F(Status, GetRankedTensorType, Tensor, RankedTensorType*)                                        \
  F(Status, GetCompiledModelInputBufferRequirements, CompiledModel, size_t, size_t,                \
    TensorBufferRequirements*)                                                                     \
  F(Status, GetCompiledModelOutputBufferRequirements, CompiledModel, size_t, size_t,               \
    TensorBufferRequirements*)                                                                     \
  F(Status, GetTensorBufferRequirementsBufferSize, TensorBufferRequirements, size_t*)              \
  F(Status, CreateTensorBufferFromHostMemory, const RankedTensorType*, void*, size_t,              \
    void (*)(void*), TensorBuffer*)                                                                \
  F(void, DestroyTensorBuffer, TensorBuffer)

struct Api {
#define TDSE_DECLARE(result, name, ...) result (*name)(__VA_ARGS__);
  TDSE_LITERT_FUNCTIONS(TDSE_DECLARE)
#undef TDSE_DECLARE
};

// Where libLiteRt.so is. Has no effect once the library is loaded.
void SetLibrary(const std::string& path);

// The library, loaded at the first call. Throws std::runtime_error if that fails.
const Api& GetApi();

// The environment that all models of the process share. Throws std::runtime_error.
Environment GetEnvironment();

// Throws std::runtime_error "litert: cannot <what>: <status>: <details>" unless `status` is kOk.
void Check(Status status, const std::string& what, const std::string& details = "");

}  // namespace litert
}  // namespace tdse

#endif  // TDSE_EXECUTOR_LITERT_API_H_
