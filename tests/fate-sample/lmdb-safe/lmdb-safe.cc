#include "lmdb-safe.hh"

#include <stdexcept>

namespace {

constexpr std::size_t kMapBytes = std::size_t(1) << 30;  // address space, not disk
constexpr MDB_dbi kDatabases = 16;

void check(int rc, const char* what) {
    if (rc != 0) {
        throw std::runtime_error(std::string("lmdb: ") + what + ": " + mdb_strerror(rc));
    }
}

}  // namespace

MDBROTransaction::MDBROTransaction(MDB_env* env, unsigned flags) {
    check(mdb_txn_begin(env, nullptr, flags, &txn_), "begin");
}

int MDBROTransaction::get(const MDBDbi& dbi, const MDBInVal& key, MDBOutVal& value) {
    MDB_val wanted = key.value;
    int rc = mdb_get(txn_, dbi.handle, &wanted, &value.value);
    if (rc != MDB_NOTFOUND) {
        check(rc, "get");
    }
    return rc;
}

void MDBROTransaction::abort() noexcept {
    if (txn_ != nullptr) {
        mdb_txn_abort(txn_);
        txn_ = nullptr;
    }
}

void MDBRWTransaction::put(const MDBDbi& dbi, const MDBInVal& key, const MDBInVal& value) {
    MDB_val in_key = key.value;
    MDB_val in_value = value.value;
    check(mdb_put(txn_, dbi.handle, &in_key, &in_value, 0), "put");
}

void MDBRWTransaction::commit() {
    MDB_txn* txn = txn_;
    txn_ = nullptr;  // LMDB frees it, whether the commit succeeds or not.
    check(mdb_txn_commit(txn), "commit");
}

MDBEnv::MDBEnv(const char* directory, int flags, int mode) {
    check(mdb_env_create(&env_), "create");
    int rc = mdb_env_set_mapsize(env_, kMapBytes);
    rc = rc != 0 ? rc : mdb_env_set_maxdbs(env_, kDatabases);
    // Without thread-local reader slots, since gRPC serves one client from many threads.
    rc = rc != 0 ? rc : mdb_env_open(env_, directory, flags | MDB_NOTLS, mode);
    if (rc != 0) {
        mdb_env_close(env_);
        check(rc, directory);
    }
}

MDBDbi MDBEnv::openDB(const std::string& name, int flags) {
    MDBDbi dbi;
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(env_, nullptr, 0, &txn), "begin");
    int rc = mdb_dbi_open(txn, name.c_str(), flags, &dbi.handle);
    if (rc != 0) {
        mdb_txn_abort(txn);
        check(rc, name.c_str());
    }
    check(mdb_txn_commit(txn), "commit");
    return dbi;
}

std::shared_ptr<MDBEnv> getMDBEnv(const char* directory, int flags, int mode) {
    return std::make_shared<MDBEnv>(directory, flags, mode);
}
