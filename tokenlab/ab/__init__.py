"""Tokenizer A/B: which representation is better, and how sure are we?"""
