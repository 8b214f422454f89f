package com.webank.eggroll.rollpair;

/** Where a roll pair keeps its pairs. rollsite names them, so it does not start without eggroll-roll-pair in lib/. */
public enum StoreTypes {
    IN_MEMORY,
    LMDB
}
