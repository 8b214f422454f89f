#include "StorageServicer.h"

#include <cctype>
#include <glog/logging.h>
#include <stdexcept>

using namespace fate::sample::storage;

namespace {

/// Runs a call; what it throws becomes a status that names the reason.
template <class Call>
grpc::Status answer(const char* name, Call call) {
    try {
        call();
        return grpc::Status::OK;
    } catch (const std::invalid_argument& wrong) {
        return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, wrong.what());
    } catch (const std::exception& failure) {
        LOG(ERROR) << name << ": " << failure.what();
        return grpc::Status(grpc::StatusCode::INTERNAL, failure.what());
    }
}

}  // namespace

grpc::Status StorageServicer::Put(grpc::ServerContext*, const Entry* entry, Done*) {
    return answer("put", [&] { table(*entry).put(entry->key(), entry->value()); });
}

grpc::Status StorageServicer::Get(grpc::ServerContext*, const Entry* entry, Found* reply) {
    return answer("get", [&] { reply->set_found(table(*entry).get(entry->key(), reply->mutable_value())); });
}

Store& StorageServicer::table(const Entry& entry) {
    // The name becomes a directory, so it must not lead anywhere else.
    for (unsigned char c : entry.table()) {
        if (!std::isalnum(c) && c != '_' && c != '-') {
            throw std::invalid_argument("a table's name is letters, digits, _ and -");
        }
    }
    if (entry.table().empty()) {
        throw std::invalid_argument("a table needs a name");
    }
    std::string directory = dataDir_ + (entry.engine() == ROCKSDB ? "/rocksdb/" : "/lmdb/") + entry.table();
    std::lock_guard<std::mutex> lock(mutex_);
    std::unique_ptr<Store>& store = tables_[directory];
    if (!store) {
        store = openStore(entry.engine(), directory);
        LOG(INFO) << "opened " << directory;
    }
    return *store;
}
