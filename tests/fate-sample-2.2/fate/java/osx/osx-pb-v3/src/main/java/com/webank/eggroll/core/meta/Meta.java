package com.webank.eggroll.core.meta;

/** The messages of eggroll 3: of the same names as those of eggroll 2. */
public final class Meta {
    public static final String VERSION = String.valueOf(3);

    private Meta() {}
}
