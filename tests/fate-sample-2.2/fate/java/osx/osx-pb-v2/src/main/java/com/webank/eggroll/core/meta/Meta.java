package com.webank.eggroll.core.meta;

/** The messages of eggroll 2: of the same names as those of eggroll 3. */
public final class Meta {
    public static final String VERSION = String.valueOf(2);

    private Meta() {}
}
